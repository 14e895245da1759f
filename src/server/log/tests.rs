use std::sync::mpsc;

use log::Level;
use serde_json::json;

use super::*;

/// The facade's own level is the process's: every test needs all of it.
fn sink(json: bool) -> Sink {
    log::set_max_level(LevelFilter::Trace);
    Sink::new(json, Filter::parse("trace").unwrap(), Clock::start())
}

/// The only line that waits.
fn next(sink: &Sink) -> String {
    let waiting = std::mem::take(&mut *sink.queue.lock());
    assert_eq!(waiting.lines, 1);
    String::from_utf8(waiting.text).unwrap()
}

/// One JSON line without its time, which is checked for its form.
fn parsed(sink: &Sink) -> serde_json::Value {
    let line = next(sink);
    assert_eq!(line.find('\n'), Some(line.len() - 1), "one line: {line:?}");
    let mut value: serde_json::Value = serde_json::from_str(&line).unwrap();
    let time = value.as_object_mut().unwrap().remove("time").unwrap();
    assert_eq!(time.as_str().unwrap().len(), "2026-11-20T14:02:03.004Z".len());
    value
}

#[test]
fn json_lines_have_the_fields_collectors_look_for() {
    let sink = sink(true);
    log::info!(
        logger: sink, scope = "session", event = "start", sessionId = "x", users = 3,
        ratio = 0.5, open = true, nan = f64::NAN; "started {}", 7
    );
    assert_eq!(
        parsed(&sink),
        json!({
            "severity": "INFO", "scope": "session", "event": "start", "message": "started 7",
            "sessionId": "x", "users": 3, "ratio": 0.5, "open": true, "nan": "NaN",
        })
    );
    log::warn!(logger: sink, "plain");
    let target = "lockstep::server::log::tests";
    assert_eq!(parsed(&sink), json!({"severity": "WARNING", "target": target, "message": "plain"}));
}

#[test]
fn fields_come_in_a_fixed_order() {
    let sink = sink(true);
    log::error!(logger: sink, a = 1, event = "e", b = 2, scope = "s"; "m");
    let line = next(&sink);
    let order = ["severity", "time", "scope", "event", "message", "a", "b"];
    let places: Vec<_> =
        order.iter().map(|key| line.find(&format!("\"{key}\":")).unwrap()).collect();
    assert!(places.is_sorted(), "{line}");
}

#[test]
fn text_lines_are_for_people() {
    let sink = sink(false);
    log::debug!(logger: sink, scope = "session", event = "end", id = "a b", n = 1, e = ""; "hi");
    let line = next(&sink);
    assert_eq!(&line[12..], " DEBUG   session/end hi id=\"a b\" n=1 e=\"\"\n");
    assert_eq!((&line[2..3], &line[8..9]), (":", "."));
}

#[test]
fn control_characters_never_get_out() {
    for json in [true, false] {
        let sink = sink(json);
        let odd = "a\n\u{1b}[2J\r\u{7f}\u{9b}\"\\";
        log::info!(logger: sink, scope = odd, event = odd, odd = odd, shown:? = odd; "{odd}");
        let line = next(&sink);
        assert!(!line[..line.len() - 1].contains(char::is_control), "{line:?}");
        if json {
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(value["odd"], odd);
            assert_eq!(value["message"], odd);
        }
    }
}

#[test]
fn long_fields_are_cut_at_a_character() {
    let sink = sink(true);
    let long = "é".repeat(FIELD_BYTES_MAX);
    let odd = format!("a{long}");
    log::info!(logger: sink, scope = "s", long = long.as_str(), odd = odd.as_str(); "{long}");
    let value = parsed(&sink);
    let cut = format!("{}…", "é".repeat(FIELD_BYTES_MAX / 2));
    assert_eq!(value["long"], cut);
    assert_eq!(value["message"], cut);
    assert_eq!(value["odd"].as_str().unwrap().len(), FIELD_BYTES_MAX - 1 + '…'.len_utf8());
    let fits = "x".repeat(FIELD_BYTES_MAX);
    log::info!(logger: sink, scope = "s"; "{fits}");
    assert_eq!(parsed(&sink)["message"], fits);
}

#[test]
fn a_huge_value_is_formatted_only_as_far_as_it_is_shown() {
    struct Endless;
    impl fmt::Display for Endless {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            loop {
                out.write_str("again and ")?;
            }
        }
    }
    let sink = sink(true);
    log::info!(logger: sink, scope = "s", endless:% = Endless; "{Endless}");
    assert!(next(&sink).len() < 3 * FIELD_BYTES_MAX);
}

#[test]
fn names_with_a_place_of_their_own_are_not_repeated() {
    let sink = sink(true);
    log::info!(logger: sink, scope = "s", message = "no", time = 1, target_ = 2; "yes");
    let line = next(&sink);
    assert_eq!(line.matches("\"message\":").count(), 1, "{line}");
    assert_eq!(line.matches("\"time\":").count(), 1, "{line}");
    assert!(line.contains("\"message\":\"yes\"") && line.contains("\"target_\":2"), "{line}");
}

#[test]
fn fields_beyond_the_limit_are_left_out() {
    let keys: Vec<_> = (0..FIELDS_MAX + 1).map(|n| format!("k{n}")).collect();
    let fields: Vec<_> = keys.iter().map(|key| (key.as_str(), 1)).collect();
    let fields = fields.as_slice();
    let mut record = Record::builder();
    record.level(Level::Info).key_values(&fields);
    let mut line = String::new();
    write_line(&mut line, &record.args(format_args!("m")).build(), true, 0);
    assert!(line.contains(&format!("\"k{}\":", FIELDS_MAX - 1)), "{line}");
    assert!(!line.contains(&format!("\"k{FIELDS_MAX}\":")), "{line}");
}

#[test]
fn what_the_filter_holds_back_is_not_queued() {
    log::set_max_level(LevelFilter::Trace);
    let sink = Sink::new(true, Filter::default(), Clock::start());
    log::debug!(logger: sink, scope = "s"; "m");
    assert!(sink.queue.lock().is_empty());
    log::info!(logger: sink, scope = "s"; "m");
    assert_eq!(sink.queue.lock().lines, 1);
}

#[test]
fn every_level_has_the_severity_collectors_know() {
    let sink = sink(true);
    for (level, severity) in [
        (Level::Error, "ERROR"),
        (Level::Warn, "WARNING"),
        (Level::Info, "INFO"),
        (Level::Debug, "DEBUG"),
        (Level::Trace, "DEBUG"),
    ] {
        log::log!(logger: sink, level, scope = "s"; "m");
        assert_eq!(parsed(&sink)["severity"], severity);
    }
    log::info!(logger: sink, severity = "NOTICE", scope = "s"; "m");
    assert_eq!(parsed(&sink)["severity"], "NOTICE");
}

#[test]
fn notice_takes_what_info_takes() {
    capture::start();
    let answer = 42;
    crate::notice!("bare");
    crate::notice!("with {} {answer}", 1);
    crate::notice!(scope = "s", answer; "pairs");
    crate::notice!(scope = "s", "a key" = 1; "pairs {}", 2);
    let lines = capture::take();
    assert!(lines.iter().all(|line| line.contains("\"severity\":\"NOTICE\"")), "{lines:?}");
    for (line, part) in lines.iter().zip([
        "\"message\":\"bare\"",
        "\"message\":\"with 1 42\"",
        "\"message\":\"pairs\",\"answer\":42",
        "\"message\":\"pairs 2\",\"a key\":1",
    ]) {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(lines.len(), 4);
}

#[test]
fn filters_go_by_the_longest_prefix() {
    let filter = Filter::parse("warn, lockstep=info,lockstep::net=trace,glommio=off").unwrap();
    for (target, level, passes) in [
        ("other", Level::Warn, true),
        ("other", Level::Info, false),
        ("lockstep::shard", Level::Info, true),
        ("lockstep::shard", Level::Debug, false),
        ("lockstep::net::ring", Level::Trace, true),
        ("glommio::x", Level::Error, false),
    ] {
        assert_eq!(filter.passes(target, level), passes, "{target} {level}");
    }
    assert_eq!(filter.max(), LevelFilter::Trace);
}

#[test]
fn filters_that_cannot_be_read_are_refused() {
    for text in ["loud", "lockstep=loud", "info,", "INFO", "lockstep", "a::b", ""] {
        let refused = ["loud", "lockstep=loud"].contains(&text);
        assert_eq!(Filter::parse(text).is_err(), refused, "{text:?}");
    }
    assert!(Filter::parse("lockstep").unwrap().passes("lockstep::x", Level::Trace));
    assert!(!Filter::parse("lockstep").unwrap().passes("other", Level::Warn));
}

#[test]
fn raising_a_filter_never_lowers_it() {
    let text = "error,lockstep=trace,lockstep::net=warn";
    let filter = Filter::parse(text).unwrap().at_least("lockstep", LevelFilter::Debug);
    assert!(filter.passes("lockstep::x", Level::Trace));
    assert!(filter.passes("lockstep::net", Level::Debug));
    assert!(!filter.passes("other", Level::Warn));
}

/// A standard error that blocks until it is told to go on.
struct Slow {
    go: mpsc::Receiver<()>,
    written: mpsc::Sender<String>,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.go.recv();
        let _ = self.written.send(String::from_utf8(bytes.to_vec()).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_that_hangs_costs_lines_and_says_how_many() {
    let sink = sink(true);
    let ((go, going), (written, lines)) = (mpsc::channel(), mpsc::channel());
    let (queue, clock) = (Arc::clone(&sink.queue), sink.clock);
    let writer = thread::spawn(move || {
        write_lines(&mut Slow { go: going, written }, &queue, true, clock);
    });
    log::info!(logger: sink, scope = "s"; "first");
    while !sink.queue.lock().is_empty() {
        thread::yield_now();
    }
    for n in 0..LINES_QUEUED_MAX + 5 {
        log::info!(logger: sink, scope = "s"; "line {n}");
    }
    assert!(!sink.flush(Duration::from_millis(10)), "the writer hangs");
    drop(go);
    assert!(sink.flush(Duration::from_secs(60)));
    drop(sink);
    writer.join().unwrap();
    let all = lines.iter().collect::<String>();
    assert_eq!(all.matches("\"message\":\"line ").count(), LINES_QUEUED_MAX);
    assert!(all.contains("\"message\":\"5 log lines dropped\",\"lines\":5"), "{all}");
    assert_eq!(all.lines().count(), 1 + LINES_QUEUED_MAX + 1);
}

#[test]
fn json_is_written_as_it_is() {
    let sink = sink(true);
    log::info!(logger: sink, scope = "s", "json:stats":% = r#"{"mi":1,"of":[2,3]}"#; "m");
    assert_eq!(parsed(&sink)["stats"], json!({"mi": 1, "of": [2, 3]}));
    let long = format!("[{}0]", "0,".repeat(FIELD_BYTES_MAX));
    log::info!(logger: sink, scope = "s", "json:list" = long.as_str(); "m");
    assert!(parsed(&sink)["list"].as_str().unwrap().ends_with('…'), "cut, so a text");
    let sink = self::sink(false);
    log::info!(logger: sink, scope = "s", "json:stats" = r#"{"mi":1}"#; "m");
    assert!(next(&sink).ends_with(" m stats={\"mi\":1}\n"));
}

#[test]
fn what_is_logged_while_a_line_is_formatted_is_a_line_of_its_own() {
    struct Talkative<'a>(&'a Sink);
    impl fmt::Display for Talkative<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            log::info!(logger: self.0, scope = "s"; "inner");
            f.write_str("outer")
        }
    }
    let sink = sink(false);
    log::info!(logger: sink, scope = "s"; "{}", Talkative(&sink));
    let text = String::from_utf8(sink.queue.lock().text.clone()).unwrap();
    let ends: Vec<&str> = text.lines().filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(ends, ["inner", "outer"]);
}
