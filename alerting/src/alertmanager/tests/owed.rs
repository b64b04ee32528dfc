//! What is owed reaches whoever it is owed to: what ended while it waited, what a reload finds, what another configuration says.

use super::*;

/// One route to `team`, whose integrations are given.
fn plan(integrations: &str) -> Plan {
    let text = format!(
        "route: {{receiver: team, group_by: [alertname], group_wait: 1s, group_interval: 6s, repeat_interval: 1h}}\n\
         receivers: [{{name: team, {integrations}}}]"
    );
    world::plan_of(&text)
}

/// A webhook that is not told of ends.
const FIRES_ONLY: &str = "webhook_configs: [{url: 'http://hook/', send_resolved: false}]";

/// What a webhook was told: of each message its time, and its alerts.
fn bodies(world: &World) -> Vec<String> {
    let alert = |alert: &serde_json::Value| {
        let is_resolved = alert["status"] == "resolved";
        format!("{}{}", if is_resolved { "-" } else { "" }, alert["labels"]["instance"].as_str().unwrap())
    };
    let text = |message: &Message| {
        let body = &message.sent.as_ref().unwrap().1;
        let alerts: Vec<String> = body["alerts"].as_array().unwrap().iter().map(alert).collect();
        format!("{} {}", message.at_ms, alerts.join(" "))
    };
    world.told.lock().iter().map(text).collect()
}

#[tokio::test]
async fn what_ended_while_its_message_waited_is_told_beside_what_fires() {
    for is_killed in [false, true] {
        let world = Arc::new(World::default());
        let mut manager = world.start(plan(FIRES_ONLY));
        world.verdicts.lock().push(Verdict::Limited(SECOND, "429".into()));
        post(&manager, "1", 0, None).await;
        post(&manager, "2", 0, None).await;
        until(&world, &manager, 1_500).await;
        post(&manager, "2", 0, Some(1_500)).await;
        if is_killed {
            manager = world.start(plan(FIRES_ONLY));
        }
        until(&world, &manager, 20 * SECOND).await;
        let told = bodies(&world);
        assert_eq!(told.len(), 1, "killed {is_killed}: {told:?}");
        assert!(told[0].ends_with(" 1 -2"), "killed {is_killed}: {told:?}");
    }
}

#[tokio::test]
async fn what_waited_to_be_told_is_told_though_all_of_its_group_ended_since() {
    for is_killed in [false, true] {
        let world = Arc::new(World::default());
        let mut manager = world.start(plan(FIRES_ONLY));
        post(&manager, "1", 0, Some(8 * SECOND)).await;
        until(&world, &manager, 2 * SECOND).await;
        world.verdicts.lock().push(Verdict::Limited(20 * SECOND, "429".into()));
        post(&manager, "2", 3 * SECOND, Some(9 * SECOND)).await;
        until(&world, &manager, 15 * SECOND).await;
        assert_eq!(bodies(&world), ["1000 1"]);
        if is_killed {
            manager = world.start(plan(FIRES_ONLY));
        }
        until(&world, &manager, 60 * SECOND).await;
        let told = bodies(&world);
        assert_eq!(told.len(), 2, "killed {is_killed}: {told:?}");
        assert!(told[1].ends_with("000 -2"), "the end of what was told is not: {told:?}");
    }
}

#[tokio::test]
async fn an_end_that_was_not_flushed_before_a_reload_is_told_after_it() {
    let hook = "webhook_configs: [{url: 'http://hook/'}]";
    let world = Arc::new(World::default());
    let manager = world.start(plan(hook));
    post(&manager, "1", 0, Some(3 * SECOND)).await;
    until(&world, &manager, 4 * SECOND).await;
    assert_eq!(bodies(&world), ["1000 1"]);
    manager.reload(plan(hook));
    until(&world, &manager, 60 * SECOND).await;
    let told = bodies(&world);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].ends_with(" -1"), "{told:?}");
    // Nobody said that it ended: that is written down, once, however often the configuration changes.
    manager.reload(plan(hook));
    until(&world, &manager, 120 * SECOND).await;
    let reasons: Vec<String> = world.disk.lock().alerts.iter().map(|row| row.reason.to_string()).collect();
    assert_eq!(reasons, ["posted", "timed out"]);
    assert_eq!(bodies(&world), told);
}

#[tokio::test]
async fn what_waits_for_an_integration_goes_to_it_though_others_come_before_it() {
    let discord = "discord_configs: [{webhook_url: 'http://chat/', title: t, message: m}]";
    let both = format!("webhook_configs: [{{url: 'http://hook/'}}], {discord}");
    for is_killed in [false, true] {
        let world = Arc::new(World::default());
        let mut manager = world.start(plan(discord));
        world.down.lock().insert("http://chat/".to_owned());
        post(&manager, "1", 0, None).await;
        until(&world, &manager, 3 * SECOND).await;
        if is_killed {
            manager = world.start(plan(&both));
        } else {
            let plan = plan(&both);
            *world.config.lock() = Some(Arc::clone(&plan.config));
            manager.reload(plan);
        }
        world.down.lock().clear();
        until(&world, &manager, 60 * SECOND).await;
        let mut urls: Vec<String> =
            world.told.lock().iter().map(|message| message.sent.as_ref().unwrap().0.clone()).collect();
        urls.sort();
        assert_eq!(urls, ["http://chat/", "http://hook/"], "killed {is_killed}: each is told once");
        let sent = world.disk.lock().notifications.clone();
        let sent = sent.iter().filter(|row| row.event == Event::Sent);
        let kinds: BTreeSet<ReceiverKind> = sent.map(|row| row.key.kind).collect();
        assert_eq!(kinds, [ReceiverKind::Webhook, ReceiverKind::Discord].into_iter().collect());
    }
}

#[tokio::test]
async fn what_waits_for_an_integration_that_is_gone_at_the_start_is_written_down_as_dead() {
    let world = Arc::new(World::default());
    let manager = world.start(plan("discord_configs: [{webhook_url: 'http://chat/', title: t, message: m}]"));
    world.down.lock().insert("http://chat/".to_owned());
    post(&manager, "1", 0, None).await;
    until(&world, &manager, 3 * SECOND).await;
    let manager = world.start(plan("webhook_configs: [{url: 'http://hook/'}]"));
    until(&world, &manager, 60 * SECOND).await;
    let dead: Vec<(ReceiverKind, String)> = {
        let disk = world.disk.lock();
        let dead = disk.notifications.iter().filter(|row| row.event == Event::Dead);
        dead.map(|row| (row.key.kind, row.error.clone())).collect()
    };
    assert_eq!(dead, [(ReceiverKind::Discord, "the receiver is not configured any more".to_owned())]);
    assert_eq!(bodies(&world).len(), 1, "{:?}", bodies(&world));
}

#[tokio::test]
async fn what_is_told_after_a_message_that_died_is_not_told_again() {
    let hook = "webhook_configs: [{url: 'http://hook/'}]";
    for is_killed in [false, true] {
        let world = Arc::new(World::default());
        let mut manager = world.start(plan(hook));
        let hold = Arc::new(Notify::new());
        world.holds.lock().push(Arc::clone(&hold));
        world.verdicts.lock().push(Verdict::Refused("400".into()));
        post(&manager, "1", 0, None).await;
        until(&world, &manager, 3 * SECOND).await;
        post(&manager, "2", 3 * SECOND, None).await;
        until(&world, &manager, 8 * SECOND).await;
        assert!(bodies(&world).is_empty(), "the first is under way");
        hold.notify_one();
        until(&world, &manager, 10 * SECOND).await;
        if is_killed {
            manager = world.start(plan(hook));
        }
        until(&world, &manager, 100 * SECOND).await;
        assert_eq!(bodies(&world), ["8000 1 2"], "killed {is_killed}");
    }
}

#[tokio::test]
async fn what_is_under_way_when_the_process_closes_is_written_down() {
    let hook = "webhook_configs: [{url: 'http://hook/'}]";
    let world = Arc::new(World::default());
    let manager = world.start(plan(hook));
    let hold = Arc::new(Notify::new());
    world.holds.lock().push(Arc::clone(&hold));
    post(&manager, "1", 0, None).await;
    until(&world, &manager, 2 * SECOND).await;
    let closing = tokio::spawn({
        let manager = manager.clone();
        async move { manager.close().await }
    });
    tokio::task::yield_now().await;
    assert!(!closing.is_finished(), "a message is under way");
    // What is due now is owed, and nobody is told.
    post(&manager, "2", 2 * SECOND, None).await;
    until(&world, &manager, 8 * SECOND).await;
    hold.notify_one();
    closing.await.unwrap();
    until(&world, &manager, 12 * SECOND).await;
    assert_eq!(bodies(&world), ["8000 1"]);
    let events: Vec<&str> = world.disk.lock().notifications.iter().map(|row| row.event.text()).collect();
    assert_eq!(events, ["intent", "intent", "sent"]);
    let manager = world.start(plan(hook));
    until(&world, &manager, 100 * SECOND).await;
    assert_eq!(bodies(&world), ["8000 1", "12000 1 2"], "the first is not told again");
}
