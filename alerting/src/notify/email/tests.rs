//! What mail is written.

use super::*;
use crate::notify::tests::{Fake, answer, firing, receiver, storm};

fn extra() -> Extra {
    Extra { id: 0xabc, hostname: "host.b.c".to_owned(), aws: None }
}

fn of(config: &str) -> Email {
    receiver(&format!("  email_configs: [{config}]")).email[0].value.clone()
}

fn sent(config: &str, told: &Notification) -> Mail {
    mail(&of(config), told, &Fake, &extra()).unwrap()
}

fn header<'a>(mail: &'a Mail, name: &str) -> &'a str {
    mail.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
}

#[test]
fn a_mail_has_both_parts() {
    let told = firing("hot <b> é");
    let mail = sent(
        "{to: 'X <x@y.z>, w@y.z', text: '{{ a summary }}', html: '{{ a summary }}', headers: {x-team: '{{ l alertname }}'}}",
        &told,
    );
    assert_eq!((mail.from.as_str(), &*mail.to), ("a@b.c", &["x@y.z".to_owned(), "w@y.z".to_owned()][..]));
    let expected = "Subject: email.default.subject\r\n\
        From: a@b.c\r\n\
        To: X <x@y.z>, w@y.z\r\n\
        X-Team: Hot\r\n\
        Message-Id: <00000000000000000000000000000abc@host.b.c>\r\n\
        Date: Thu, 05 Nov 2026 04:03:09 +0000\r\n\
        MIME-Version: 1.0\r\n\
        Content-Type: multipart/alternative; boundary=\"00000000000000000000000000000abc\"\r\n\
        \r\n\
        --00000000000000000000000000000abc\r\n\
        Content-Type: text/plain; charset=UTF-8\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\
        \r\n\
        hot <b> =C3=A9\r\n\
        --00000000000000000000000000000abc\r\n\
        Content-Type: text/html; charset=UTF-8\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\
        \r\n\
        <p>hot &lt;b> =C3=A9</p>\r\n\
        --00000000000000000000000000000abc--\r\n";
    assert_eq!(String::from_utf8(mail.message()).unwrap(), expected);
    assert_eq!(mail.message(), sent("{to: 'X <x@y.z>, w@y.z', text: '{{ a summary }}', html: '{{ a summary }}', headers: {x-team: '{{ l alertname }}'}}", &told).message());
}

#[test]
fn labels_write_no_headers_and_no_recipients() {
    let told = firing("x\r\nBcc: evil@e.e\u{2028}\0");
    let mail = sent("{to: 'x@y.z', headers: {subject: '{{ a summary }}', x-a: '{{ a summary }}'}}", &told);
    assert_eq!(header(&mail, "X-A"), "x  Bcc: evil@e.e");
    let head = String::from_utf8(mail.message()).unwrap();
    assert!(!head.contains("\r\nBcc"), "{head}");
    let error = super::mail(&of("{to: '{{ a summary }}'}"), &firing("a@b.c>\r\nx"), &Fake, &extra()).unwrap_err();
    assert!(error.message().contains("address"), "{error}");
    let error = super::mail(&of("{to: 'a@b.c', headers: {'x:y': z}}"), &firing("x"), &Fake, &extra()).unwrap_err();
    assert!(error.message().contains("header"), "{error}");
}

#[test]
fn mails_of_a_group_are_a_thread() {
    let key = sha256_hex(r#"{}:{alertname="Hot"}"#);
    let daily = sent("{to: 'x@y.z', threading: {enabled: true, thread_by_date: daily}}", &firing("x"));
    assert_eq!(header(&daily, "References"), format!("<alert-{}-2026-11-05@alertmanager>", &key[..16]));
    let always = sent("{to: 'x@y.z', threading: {enabled: true, thread_by_date: none}}", &firing("x"));
    assert_eq!(header(&always, "In-Reply-To"), format!("<alert-{}-@alertmanager>", &key[..16]));
    assert_eq!(header(&sent("{to: 'x@y.z'}", &firing("x")), "References"), "");
}

#[test]
fn connections_are_secured_as_configured() {
    for (config, expected) in [
        ("", MailTls::StartTls),
        (", require_tls: false", MailTls::None),
        (", smarthost: 'h:465'", MailTls::Implicit),
        (", smarthost: 'h:465', force_implicit_tls: false", MailTls::StartTls),
        (", force_implicit_tls: true, require_tls: false", MailTls::Implicit),
    ] {
        assert_eq!(sent(&format!("{{to: 'x@y.z'{config}}}"), &firing("x")).tls, expected, "{config}");
    }
    let mail = sent("{to: 'x@y.z', auth_username: u, auth_password: p}", &firing("x"));
    assert_eq!(mail.auth.as_ref().and_then(|auth| auth.password.as_deref()), Some("p"));
    assert!(!format!("{mail:?}{:?}", mail.auth).contains('p'.to_string().repeat(2).as_str()));
    assert_eq!(sent("{to: 'x@y.z'}", &firing("x")).auth, None);
}

#[test]
fn a_storm_is_one_mail() {
    let mail = sent("{to: 'x@y.z'}", &storm(40, "g"));
    assert_eq!(header(&mail, "Subject"), "40 groups of alerts changed, 20 of them fire");
    assert!(mail.html.is_none() && mail.text.unwrap().contains("[FIRING:1] alertname=g38"));
}

#[test]
fn answers_are_told_apart() {
    for (code, is_sent, is_failed) in [
        (250, true, false),
        (354, true, false),
        (421, false, true),
        (451, false, true),
        (535, false, true),
        (550, false, false),
    ] {
        let verdict = delivered(&answer(code, None, "x")).verdict;
        assert_eq!((verdict == Verdict::Sent, matches!(verdict, Verdict::Failed(_))), (is_sent, is_failed), "{code}");
    }
}

/// Lines of Base64 as bytes.
fn decoded(lines: &str) -> Vec<u8> {
    assert!(lines.lines().all(|line| line.len() <= 76), "{lines}");
    base64::Engine::decode(&base64::engine::general_purpose::STANDARD, lines.replace("\r\n", "")).unwrap()
}

#[test]
fn an_answer_is_a_table_with_its_file() {
    let bytes: Vec<u8> = "team,cost\r\n'=1+1,é\r\n".bytes().cycle().take(500).collect();
    let report = Report {
        title: "Costs <of> teams.".to_owned(),
        time: "2026-11-23T07:00:00Z".to_owned(),
        link: "http://gauge.test/api/v1/sql/costs?a=1&format=csv".to_owned(),
        columns: vec!["team".to_owned()],
        rows: vec![vec!["<b>".to_owned()]],
        count: Some(1),
        file: Some(File { name: "costs-2026-11-23.csv".to_owned(), bytes: bytes.clone() }),
        ..Report::default()
    };
    let told = Notification { report: Some(std::sync::Arc::new(report.clone())), ..firing("x") };
    let mail = sent("{to: 'x@y.z', text: '{{ a summary }}', threading: {enabled: true}}", &told);
    assert_eq!(header(&mail, "Subject"), "Costs <of> teams, as of 2026-11-23T07:00:00Z");
    assert_eq!(header(&mail, "References"), "", "no answer is one to another");
    let text = mail.text.as_deref().unwrap();
    assert!(text.contains("team\n----\n<b>\n\nThere is one row.\nhttp://gauge.test/"), "{text}");
    let html = mail.html.as_deref().unwrap();
    assert!(html.contains("<pre>team\n----\n&lt;b&gt;</pre>") && html.contains("a=1&amp;format=csv\""), "{html}");
    let message = String::from_utf8(mail.message()).unwrap();
    let mixed = "--mixed-00000000000000000000000000000abc";
    let parts: Vec<&str> = message.split(mixed).collect();
    assert!(parts[0].contains("Content-Type: multipart/mixed; boundary=\"mixed-00000000000000000000000000000abc\""));
    assert!(parts[1].starts_with("\r\nContent-Type: multipart/alternative;"), "{}", parts[1]);
    assert_eq!((parts.len(), parts[3]), (4, "--\r\n"));
    let (head, body) = parts[2].split_once("\r\n\r\n").unwrap();
    assert!(head.contains("attachment; filename=\"costs-2026-11-23.csv\""), "{head}");
    assert_eq!(decoded(body), bytes);
    let large = Report { count: None, ..report.without_file("it is too large") };
    let failed = Report { failure: Some("no <such> column".to_owned()), ..large.clone() };
    let mail =
        |report| sent("{to: 'x@y.z'}", &Notification { report: Some(std::sync::Arc::new(report)), ..told.clone() });
    let large = mail(large);
    assert!(large.text.as_deref().unwrap().contains("There is no file: it is too large.\nhttp://gauge.test/"));
    assert!(!String::from_utf8(large.message()).unwrap().contains("mixed"));
    let failed = mail(failed);
    assert!(failed.text.as_deref().unwrap().contains("Z\n\nThere is no answer: no <such> column\nhttp://"));
    assert!(failed.html.as_deref().unwrap().contains("</p>\n<p>There is no answer: no &lt;such&gt; column <a"));
}
