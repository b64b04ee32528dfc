//! Times in which something is muted, through months, weeks and changes of the clock.

use super::*;

fn read(text: &str) -> Result<Interval, String> {
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[test]
fn instants_are_inside_or_not() {
    let nine_to_five = "{times: [{start_time: '09:00', end_time: '17:00'}], weekdays: ['monday:friday']}";
    let berlin_night = "{times: [{start_time: '02:00', end_time: '03:00'}], location: Europe/Berlin}";
    for (interval, instant, inside) in [
        ("{}", "2020-02-29T12:00:00Z", true),
        (nine_to_five, "2020-07-08T12:00:00Z", true),
        (nine_to_five, "2020-07-08T09:00:00Z", true),
        (nine_to_five, "2020-07-08T16:59:59.999Z", true),
        (nine_to_five, "2020-07-08T17:00:00Z", false),
        (nine_to_five, "2020-07-08T08:59:59Z", false),
        (nine_to_five, "2020-07-11T12:00:00Z", false),
        ("{times: [{start_time: '22:00', end_time: '24:00'}]}", "2020-07-08T23:59:59Z", true),
        (
            "{times: [{start_time: '00:00', end_time: '01:00'}, {start_time: '03:00', end_time: '04:00'}]}",
            "2020-07-08T03:30:00Z",
            true,
        ),
        ("{weekdays: ['Sunday', SATURDAY]}", "2020-07-12T00:00:00Z", true),
        ("{weekdays: ['sunday:tuesday']}", "2020-07-15T00:00:00Z", false),
        // Ends of months.
        ("{days_of_month: ['-1']}", "2020-02-29T12:00:00Z", true),
        ("{days_of_month: ['-1']}", "2021-02-28T12:00:00Z", true),
        ("{days_of_month: ['-1']}", "2020-02-28T12:00:00Z", false),
        ("{days_of_month: ['-3:-1']}", "2021-04-28T12:00:00Z", true),
        ("{days_of_month: ['-3:-1']}", "2021-04-27T12:00:00Z", false),
        ("{days_of_month: ['1:31']}", "2021-02-28T12:00:00Z", true),
        ("{days_of_month: ['29:31']}", "2021-02-28T12:00:00Z", false),
        ("{days_of_month: ['31']}", "2021-04-30T12:00:00Z", false),
        ("{days_of_month: ['-31:-29']}", "2021-02-01T12:00:00Z", false),
        ("{days_of_month: ['-31:-28']}", "2021-02-01T12:00:00Z", true),
        ("{days_of_month: ['25:-3']}", "2021-02-26T12:00:00Z", true),
        ("{days_of_month: ['24:-4']}", "2021-02-26T12:00:00Z", false),
        ("{days_of_month: [1, '5:7']}", "2021-02-06T12:00:00Z", true),
        // Months and years.
        ("{months: ['january:march', 6, Dezember]}", "", false),
        ("{months: ['january:march', 6, December]}", "2021-06-30T23:59:59Z", true),
        ("{months: ['january:march', 6, December]}", "2021-07-01T00:00:00Z", false),
        ("{months: ['1:3']}", "2021-03-31T00:00:00Z", true),
        ("{years: ['2020:2021', 2030]}", "2030-03-31T00:00:00Z", true),
        ("{years: ['2020:2021', 2030]}", "2022-01-01T00:00:00Z", false),
        // Between fields all have to hold.
        ("{months: [december], days_of_month: ['24:26'], years: [2022]}", "2022-12-25T10:00:00Z", true),
        ("{months: [december], days_of_month: ['24:26'], years: [2022]}", "2021-12-25T10:00:00Z", false),
        // Zones: a new year that is not here yet, and summer time.
        ("{years: [2022], location: Australia/Sydney}", "2021-12-31T13:00:00Z", true),
        ("{years: [2022], location: UTC}", "2021-12-31T13:00:00Z", false),
        ("{years: [2022], location: America/New_York}", "2022-01-01T04:59:59Z", false),
        ("{weekdays: [monday], location: Asia/Kolkata}", "2021-01-03T18:30:00Z", true),
        // On 2021-03-28 there is no such hour in Berlin; on 2021-10-31 there are two.
        (berlin_night, "2021-03-27T01:30:00Z", true),
        (berlin_night, "2021-03-28T00:59:59Z", false),
        (berlin_night, "2021-03-28T01:00:00Z", false),
        (berlin_night, "2021-10-31T00:30:00Z", true),
        (berlin_night, "2021-10-31T01:30:00Z", true),
        (berlin_night, "2021-10-31T02:00:00Z", false),
    ] {
        if instant.is_empty() {
            assert!(read(interval).is_err(), "{interval}");
            continue;
        }
        assert_eq!(read(interval).unwrap().contains(at(instant)), inside, "{interval} at {instant}");
    }
}

#[test]
fn the_zone_of_the_machine_is_known() {
    // Wherever the machine is, the year 2021 has begun and not ended.
    assert!(read("{location: Local, years: [2021]}").unwrap().contains(at("2021-06-01T00:00:00Z")));
}

/// Verdicts of amtool 0.25 on each, asked one by one.
#[test]
fn wrong_intervals_are_refused() {
    for (text, right) in [
        ("{days_of_month: ['1:-1']}", true),
        ("{days_of_month: ['25:-3']}", true),
        ("{days_of_month: ['26:-3']}", false),
        ("{days_of_month: ['1:-27']}", true),
        ("{days_of_month: ['1:-28']}", false),
        ("{days_of_month: ['31:-1']}", false),
        ("{days_of_month: ['-1:31']}", false),
        ("{days_of_month: ['5:5']}", true),
        ("{days_of_month: ['-3:-3']}", true),
        ("{days_of_month: ['-1:-3']}", false),
        ("{days_of_month: ['5:2']}", false),
        ("{days_of_month: ['0']}", false),
        ("{days_of_month: ['32']}", false),
        ("{days_of_month: ['1:2:3']}", false),
        ("{days_of_month: [' 5']}", false),
        ("{days_of_month: ['+5']}", true),
        ("{weekdays: [mon]}", false),
        ("{weekdays: [1]}", false),
        ("{weekdays: ['Monday:FRIDAY']}", true),
        ("{weekdays: ['friday:monday']}", false),
        ("{weekdays: ['monday : friday']}", false),
        ("{weekdays: monday}", false),
        ("{weekdays: []}", true),
        ("{months: ['0']}", true),
        ("{months: ['13']}", true),
        ("{months: [jan]}", false),
        ("{months: ['january:3']}", true),
        ("{months: ['3:january']}", false),
        ("{years: ['2021:2020']}", false),
        ("{years: ['-1']}", true),
        ("{years: [x]}", false),
        ("{times: [{start_time: '9:00', end_time: '10:00'}]}", false),
        ("{times: [{start_time: 09:00, end_time: 24:00}]}", true),
        ("{times: [{start_time: '10:00', end_time: '10:00'}]}", false),
        ("{times: [{start_time: '23:00', end_time: '24:01'}]}", false),
        ("{times: [{start_time: '10:00'}]}", false),
        ("{times: [{start_time: '10:00', end_time: '11:00', x: 1}]}", false),
        ("{location: Foo}", false),
        ("{location: europe/berlin}", false),
        ("{location: ''}", true),
        ("{unknown: []}", false),
    ] {
        assert_eq!(read(text).is_ok(), right, "{text}: {:?}", read(text));
    }
}

#[test]
fn what_is_printed_is_read_back() {
    let text = "{times: [{start_time: '09:00', end_time: '24:00'}], weekdays: ['monday:friday'], days_of_month: ['-3:-1'], \
                months: ['may:9'], years: [2020], location: Europe/Berlin}";
    let interval = read(text).unwrap();
    assert_eq!(read(&serde_saphyr::to_string(&interval).unwrap()).unwrap(), interval);
}
