//! What a room remembers, and who may change it.

use serde_json::{Value, json};

use super::{new_state, pair, take_times};
use crate::support::eventually;
use crate::support::gallery::{Visitor, error, message, on_shards, patch};

#[test]
fn a_stale_version_is_refused_and_its_sender_healed() {
    on_shards(&[], |server, [room, _]| {
        let [mut host, mut viewer] = pair(server.address(), room);
        let url =
            |version: u64, url: &str| patch("host", &json!(version), &json!({"sceneUrl": url}));
        for (version, name) in [(1, "one"), (7, "seven")] {
            host.broadcast(&url(version, name));
            assert_eq!(viewer.hear_message("host"), url(version, name));
        }
        let mut state = new_state();
        (state["version"], state["sceneUrl"]) = (json!(7), json!("seven"));
        let heal = |host: &mut Visitor, why: &str| {
            let told = json!({"message": why, "requestId": "v"});
            assert_eq!(host.hear(), json!({"event": "error", "data": told}));
            let mut full = host.hear_message("server");
            take_times(&mut full, &["timestamp"]);
            assert_eq!(full, json!({"type": "state_full", "senderId": "server", "data": state}));
        };
        let request =
            |message: &Value| json!({"action": "broadcast", "requestId": "v", "message": message});
        for stale in [0, 1, 6, 7] {
            host.say(&request(&url(stale, "stale")));
            heal(&mut host, "Stale version");
        }
        let none = json!({"type": "state_update", "data": {"type": "patch", "data": {}}});
        host.say(&request(&none));
        heal(&mut host, "Invalid version");
        for bad in
            [json!(null), json!("8"), json!(7.5), json!(1e300), json!(9_007_199_254_740_991_u64)]
        {
            host.say(&request(&patch("host", &bad, &json!({"sceneUrl": "bad"}))));
            heal(&mut host, "Invalid version");
        }
        // A version within the data is not the version.
        let sly = patch("host", &json!(8), &json!({"version": 99, "sceneUrl": "eight"}));
        host.broadcast(&sly);
        assert_eq!(viewer.hear_message("host"), sly);
        let mut late = Visitor::connect(server.address(), "late");
        let info = late.join(room, "viewer");
        assert_eq!(
            (&info["state"]["version"], &info["state"]["sceneUrl"]),
            (&json!(8), &json!("eight"))
        );
        // A full one takes what it does not name back to the beginning.
        let full = json!({"type": "full", "version": 9, "data": {"sceneLoaded": true}});
        viewer.hear_joined("late");
        host.hear_joined("late");
        host.broadcast(&message("host", "state_update", &full));
        host.settle();
        let info = Visitor::connect(server.address(), "later").join(room, "viewer");
        let mut state = new_state();
        (state["version"], state["sceneLoaded"]) = (json!(9), json!(true));
        assert_eq!(info["state"], state);
        let large = json!({"treeViewState": {"x": "x".repeat(1000 << 10)}});
        host.hear_joined("later");
        host.hear_left("later");
        host.broadcast(&patch("host", &json!(10), &large));
        host.settle();
        let more = json!({"sceneUrl": "x".repeat(100 << 10)});
        host.say(&request(&patch("host", &json!(11), &more)));
        let told = json!({"message": "State too large", "requestId": "v"});
        assert_eq!(host.hear(), json!({"event": "error", "data": told}));
    });
}

#[test]
fn each_role_may_what_it_may() {
    let annotation = json!({"id": "n", "userId": "x", "text": "t"});
    let cases = |id: &str, version: u64| {
        [
            patch(id, &json!(version), &json!({"sceneUrl": "u"})),
            patch(id, &json!(version + 1), &json!({"treeViewState": {"a": 1}})),
            patch(id, &json!(version + 2), &json!({"sessionSettings": {"allowAnnotations": true}})),
            message(id, "annotation_add", &annotation),
            message(id, "annotation_remove", &json!("n")),
            message(id, "camera_frame", &json!({})),
            message(id, "grant_control", &json!({})),
            message(id, "state_full", &json!({})),
        ]
    };
    // Scene, tree view, settings, add, remove, two of cameras, state_full.
    let check = |arguments: &[&str], allowed: [(&str, [bool; 8]); 3]| {
        on_shards(arguments, |server, [room, _]| {
            let mut witness = Visitor::connect(server.address(), "witness");
            witness.join(room, "viewer");
            for (turn, (role, may)) in allowed.iter().enumerate() {
                let mut visitor = Visitor::connect(server.address(), role);
                visitor.join(room, role);
                witness.hear_joined(role);
                for (message, may) in cases(role, 10 * (turn as u64 + 1)).iter().zip(may) {
                    visitor.broadcast(message);
                    if *may {
                        visitor.settle();
                        assert_eq!(witness.hear_message(role), *message);
                    } else {
                        assert_eq!(visitor.hear(), error("Permission denied"), "{role} {message}");
                    }
                }
                // In private as in public.
                let private = json!({"action": "send_message", "targetUserId": "witness",
                    "message": message(role, "camera_frame", &json!({}))});
                visitor.say(&private);
                if may[5] {
                    visitor.settle();
                    witness.hear_message(role);
                } else {
                    assert_eq!(visitor.hear(), error("Permission denied"));
                }
                drop(visitor);
                witness.hear_left(role);
                witness.settle();
            }
        });
    };
    let (yes, no) = (true, false);
    check(
        &[],
        [
            ("viewer", [no; 8]),
            ("editor", [yes, yes, no, yes, yes, yes, yes, no]),
            ("host", [yes; 8]),
        ],
    );
    check(
        &[
            "--gallery-scene-change",
            "all",
            "--gallery-tree-view-change",
            "host",
            "--gallery-annotations",
            "all",
            "--gallery-camera-control",
            "host",
        ],
        [
            ("viewer", [yes, no, no, yes, yes, no, no, no]),
            ("editor", [yes, no, no, yes, yes, no, no, no]),
            ("host", [yes; 8]),
        ],
    );
}

#[test]
fn whoever_comes_late_sees_what_the_others_see() {
    on_shards(&[], |server, [room, _]| {
        let [mut host, mut viewer] = pair(server.address(), room);
        let annotation = |id: &str, text: &str| {
            json!({"id": id, "userId": "host", "userName": "H", "position": [1, 2.5, 3], "text": text,
                "color": "#fff", "timestamp": 1})
        };
        let focus = |id: &str, path: &str| json!({"userId": id, "targetObjectPath": path, "position": [0, 0, 0], "timestamp": 1});
        for (id, text) in [("1", "first"), ("2", "second"), ("3", "third")] {
            host.broadcast(&message("host", "annotation_add", &annotation(id, text)));
        }
        host.broadcast(&message("host", "annotation_remove", &json!("2")));
        host.broadcast(&message("host", "focus_change", &focus("host", "/a")));
        host.broadcast(&message("host", "focus_change", &focus("host", "/b")));
        let mut brief = focus("viewer", "/c");
        brief["duration"] = json!(150);
        host.settle();
        (0..6).for_each(|_| drop(viewer.hear_message("host")));
        viewer.broadcast(&message("viewer", "focus_change", &brief));
        host.hear_message("viewer");
        let mut late = Visitor::connect(server.address(), "late");
        let state = late.join(room, "viewer")["state"].take();
        let kept = json!([annotation("1", "first"), annotation("3", "third")]);
        assert_eq!(state["annotations"], kept);
        assert_eq!(state["focusPoints"][0], focus("host", "/b"));
        // The brief one ends by itself, the other when its user leaves.
        let focused = |late: &mut Visitor| late.join(room, "viewer")["state"]["focusPoints"].take();
        eventually("the brief one is gone", || focused(&mut late) == json!([focus("host", "/b")]));
        host.say(&json!({"action": "leave_room"}));
        late.hear_left("host");
        assert_eq!(focused(&mut late), json!([]));
        assert_eq!(late.join(room, "viewer")["state"]["annotations"], kept);
        // Where annotations are not wanted, nobody adds any.
        let mut chair = Visitor::connect(server.address(), "chair");
        chair.join(room, "host");
        let without = json!({"sessionSettings": {"allowAnnotations": false}});
        chair.broadcast(&patch("chair", &json!(1), &without));
        chair.broadcast(&message("chair", "annotation_add", &annotation("4", "fourth")));
        assert_eq!(chair.hear(), error("Permission denied"));
    });
}
