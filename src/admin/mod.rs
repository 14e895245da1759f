//! What operators read: health, statistics, Prometheus text. Pure: counters in, text out.

use std::fmt::Write as _;

use crate::protocol::{Pages, gallery, yjs};
use crate::session::counters::{DESCRIPTIONS, Kind, LATENCY_BOUNDS_MS};
use crate::session::{Counters, Instant};

/// Body of `/health`.
pub fn health(serving: bool) -> String {
    let status = if serving { "ok" } else { "draining" };
    format!("{{\"status\":\"{status}\",\"version\":\"{}\"}}\n", env!("CARGO_PKG_VERSION"))
}

/// Body of `/stats`: every number, summed over shards and by shard.
pub fn stats(shards: &[Counters]) -> String {
    let mut out = String::from("{\"shards\":");
    let _ = write!(out, "{}", shards.len());
    for description in DESCRIPTIONS {
        let _ = write!(out, ",\"{}\":{}", description.name, sum(shards, description.read));
    }
    out.push_str("}\n");
    out
}

/// Body of the gallery original's `/health` (specs: gallery §6).
pub fn condition(shards: &[Counters], now: Instant) -> String {
    let rooms = sum(shards, |c| c.gallery_rooms.get());
    let users = sum(shards, |c| c.gallery_connections.get());
    // The clock starts with the process.
    let uptime = now.as_micros() as f64 / 1e6;
    format!(r#"{{"status":"ok","rooms":{rooms},"users":{users},"uptime":{uptime}}}"#)
}

/// Status and body of the CoMutiNy gateway's `/health` (specs: comutiny §1).
pub fn comutiny_health(serving: bool) -> (u16, &'static str) {
    if serving { (200, r#"{"status":"ok"}"#) } else { (503, r#"{"status":"draining"}"#) }
}

/// Status and body of Zeal's `/health` (specs: zeal §0). There is no Redis to be checked.
pub fn zeal_health(serving: bool, wall_ms: u64) -> (u16, String) {
    let (code, status) = if serving { (200, "healthy") } else { (503, "degraded") };
    let server = if serving { "ok" } else { "stopping" };
    let body = format!(
        r#"{{"status":"{status}","timestamp":{wall_ms},"service":"zeal-crdt-server","checks":{{"server":"{server}","redis":"disabled"}}}}"#
    );
    (code, body)
}

/// Body of Zeal's `/stats`, in the styles of its server and of its document, made of a line for each
/// document.
pub fn documents(lines: &str, config: &yjs::Config) -> String {
    let mut details: Vec<&str> = lines.lines().filter(|line| !line.is_empty()).collect();
    details.sort_unstable();
    let count = |line: &&str| line.rsplit(':').next()?.strip_suffix('}')?.parse::<u64>().ok();
    let clients: u64 = details.iter().filter_map(count).sum();
    let (rooms, list) = (details.len(), details.join(","));
    let (rooms_max, clients_max) = (config.native_rooms_max, config.native_clients_per_room_max);
    format!(
        r#"{{"status":"running","rooms":{rooms},"totalClients":{clients},"total_clients":{clients},"max_rooms":{rooms_max},"max_clients_per_room":{clients_max},"roomDetails":[{list}]}}"#
    )
}

/// What a session that is not there would say of its users, by its full name.
pub fn no_users(session: &str) -> String {
    let hall = session.strip_prefix(gallery::PROTOCOL.name).and_then(|key| key.strip_prefix('/'));
    if hall == Some(gallery::HALL) { gallery::no_rooms() } else { "[]".to_owned() }
}

/// Body of `/metrics`: Prometheus text format 0.0.4. Lockstep's own numbers are labelled by shard;
/// those under the Croquet original's names are sums, as its dashboards expect.
pub fn metrics(shards: &[Counters]) -> String {
    let mut out = String::new();
    for description in DESCRIPTIONS {
        let kind = match description.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let name = description.name;
        let _ = writeln!(out, "# HELP {name} {}\n# TYPE {name} {kind}", description.help);
        if name.starts_with("reflector_") {
            let _ = writeln!(out, "{name} {}", sum(shards, description.read));
            continue;
        }
        for (shard, counters) in shards.iter().enumerate() {
            let _ = writeln!(out, "{name}{{shard=\"{shard}\"}} {}", (description.read)(counters));
        }
    }
    latency(&mut out, shards);
    out
}

/// Body of `/` on the common listener.
pub fn home() -> String {
    format!(
        "Lockstep {}: real-time sessions.\n\n\
         Croquet:  box=http://<this host and port>/ (reflector and files)\n\
         Gallery:  ws://<this host and port>/gallery\n\
         Yjs:      ws://<this host and port>/yjs/<room>, and Zeal's native clients on /ws\n\
         Numbers:  /health /stats /metrics /sessions\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// What an original answers to whoever asks whether it is there (specs: croquet §1.2, zeal §0).
pub fn alive(pages: Pages) -> String {
    match pages {
        Pages::Croquet => {
            "Croquet reflector-v1 lockstep local\n\nAh, ha, ha, ha, stayin' alive!\n".to_owned()
        }
        Pages::Zeal => "Zeal CRDT Server Running".to_owned(),
        Pages::YWebsocket => "okay".to_owned(),
        Pages::Common | Pages::Comutiny | Pages::Gallery | Pages::Rljson => home(),
    }
}

fn sum(shards: &[Counters], read: fn(&Counters) -> u64) -> u64 {
    shards.iter().map(read).sum()
}

fn latency(out: &mut String, shards: &[Counters]) {
    const NAME: &str = "reflector_latency";
    let _ = writeln!(
        out,
        "# HELP {NAME} Latency that clients report, in milliseconds.\n# TYPE {NAME} histogram"
    );
    let mut below = 0;
    let bounds = LATENCY_BOUNDS_MS.iter().map(|bound| bound.to_string());
    for (bucket, bound) in bounds.chain(["+Inf".to_owned()]).enumerate() {
        below += shards.iter().map(|c| c.croquet_latency.buckets[bucket].get()).sum::<u64>();
        let _ = writeln!(out, "{NAME}_bucket{{le=\"{bound}\"}} {below}");
    }
    let total = sum(shards, |c| c.croquet_latency.sum_ms.get());
    let _ = writeln!(out, "{NAME}_sum {total}\n{NAME}_count {below}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_sum_what_the_original_named_and_label_the_rest() {
        let shards = [Counters::default(), Counters::default()];
        shards[0].croquet_messages.add(2);
        shards[1].croquet_messages.add(3);
        shards[1].connections.increment();
        shards[0].croquet_latency.observe(9);
        shards[1].croquet_latency.observe(1_000);
        let text = metrics(&shards);
        assert!(text.contains("\nreflector_messages 5\n"));
        assert!(text.contains("lockstep_connections{shard=\"1\"} 1\n"));
        assert!(text.contains("reflector_latency_bucket{le=\"8\"} 0\n"));
        assert!(text.contains("reflector_latency_bucket{le=\"10\"} 1\n"));
        assert!(text.contains("reflector_latency_bucket{le=\"+Inf\"} 2\n"));
        assert!(text.contains("reflector_latency_sum 1009\nreflector_latency_count 2\n"));
    }

    #[test]
    fn the_gallerys_numbers_are_in_its_originals_form() {
        let shards = [Counters::default(), Counters::default()];
        shards[1].gallery_rooms.set(2);
        shards[1].gallery_connections.set(3);
        assert_eq!(
            condition(&shards, Instant::from_millis(1_250)),
            r#"{"status":"ok","rooms":2,"users":3,"uptime":1.25}"#
        );
        assert_eq!(no_users("gallery/hall"), "{\n  \"rooms\": [],\n  \"totalUsers\": 0\n}");
        assert_eq!(no_users("croquet/hall"), "[]");
    }

    #[test]
    fn documents_are_told_as_zeal_does() {
        let lines = "{\"name\":\"b:1\",\"clients\":2}\n\n{\"name\":\"a\",\"clients\":1}\n";
        let told: serde_json::Value =
            serde_json::from_str(&documents(lines, &yjs::Config::default())).expect("JSON");
        assert_eq!(
            told,
            serde_json::json!({
                "status": "running", "rooms": 2, "totalClients": 3, "total_clients": 3,
                "max_rooms": 1000, "max_clients_per_room": 100,
                "roomDetails": [{"name": "a", "clients": 1}, {"name": "b:1", "clients": 2}],
            })
        );
        let (status, health) = zeal_health(true, 5);
        assert_eq!(status, 200);
        let health: serde_json::Value = serde_json::from_str(&health).expect("JSON");
        assert_eq!(health["service"], "zeal-crdt-server");
        assert_eq!(health["status"], "healthy");
        assert_eq!(zeal_health(false, 5).0, 503);
    }

    #[test]
    fn the_worlds_health_is_in_its_originals_form() {
        assert_eq!(comutiny_health(true), (200, r#"{"status":"ok"}"#));
        assert_eq!(comutiny_health(false).0, 503);
    }

    #[test]
    fn stats_is_json() {
        let stats = stats(&[Counters::default()]);
        assert!(serde_json::from_str::<serde_json::Value>(&stats).is_ok(), "{stats}");
    }
}
