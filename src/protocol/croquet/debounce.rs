//! Tagged SEND (specs: croquet §7): of several members that say the same at once, the first is
//! heard.

use std::time::Duration;

use super::decode::Tags;
use crate::session::Instant;

/// Message ids remembered; the one not heard of for the longest time goes first.
const IDS_MAX: usize = 64;

type Accepted = Vec<(Box<str>, Instant)>;

/// When messages were last accepted, by id, the least recent first.
#[derive(Debug, Default)]
pub(super) struct Debounce {
    accepted: Option<Box<Accepted>>,
}

impl Debounce {
    /// Whether a message with these tags is heard now; remembers it if so.
    pub(super) fn accept(&mut self, tags: Tags<'_>, now: Instant) -> bool {
        let accepted = &mut **self.accepted.get_or_insert_default();
        let known = accepted.iter().position(|(id, _)| **id == *tags.msg_id);
        let mut entry = match known {
            Some(at) => {
                let quiet = Duration::try_from_secs_f64(tags.debounce_ms / 1_000.0);
                if now.since(accepted[at].1) <= quiet.unwrap_or(Duration::MAX) {
                    return false;
                }
                accepted.remove(at)
            }
            None => {
                if accepted.len() == IDS_MAX {
                    accepted.remove(0);
                }
                (tags.msg_id.into(), now)
            }
        };
        entry.1 = now;
        accepted.push(entry);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(debounce: &mut Debounce, msg_id: &str, debounce_ms: f64, at: u64) -> bool {
        debounce.accept(Tags { msg_id, debounce_ms }, Instant::from_millis(at))
    }

    #[test]
    fn a_repetition_is_heard_only_after_the_interval() {
        let mut debounce = Debounce::default();
        assert!(accept(&mut debounce, "poll", 300.0, 0));
        assert!(!accept(&mut debounce, "poll", 300.0, 1));
        assert!(accept(&mut debounce, "other", 300.0, 1));
        assert!(!accept(&mut debounce, "poll", 300.0, 300), "not older than the interval");
        assert!(accept(&mut debounce, "poll", 300.0, 301));
        assert!(!accept(&mut debounce, "poll", 300.0, 600), "counted from the last one heard");
        assert!(!accept(&mut debounce, "poll", f64::MAX, 900));
    }

    #[test]
    fn only_so_many_ids_are_remembered() {
        let mut debounce = Debounce::default();
        for id in 0..1_000 {
            assert!(accept(&mut debounce, &id.to_string(), 1e9, id));
        }
        assert_eq!(debounce.accepted.as_ref().unwrap().len(), IDS_MAX);
        assert!(accept(&mut debounce, "0", 1e9, 1_000), "forgotten");
        assert!(!accept(&mut debounce, "999", 1e9, 1_000));
    }
}
