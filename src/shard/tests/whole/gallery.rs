//! Users of the Gallery Viewer. Whatever happens: what a member says comes to all others of its room and
//! to nobody else, in order and once, poses but for those that newer ones replaced; a room's annotations
//! are what anybody was told of them, in this process and the next; everything asked is answered, by what
//! it was asked with; and members know who else is there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Play;
use super::line::Line;
use super::stage::Stage;

const ROOMS: u64 = 2;
const USERS_MAX: usize = 6;

/// What is known of a user's annotation, over all processes. Every third change removes it.
#[derive(Clone, Debug, Default)]
struct Note {
    /// The last change that anybody was told.
    told: u64,
    sent: u64,
    refused: BTreeSet<u64>,
    room: usize,
}

impl Note {
    /// Whoever comes is shown this number, or no annotation, and knows that change `floor` was told.
    fn check(&mut self, shown: Option<u64>, floor: u64) {
        let possible = |change: &u64| !self.refused.contains(change);
        let fits = match shown {
            Some(change) => (floor..=self.sent).contains(&change) && possible(&change),
            None => {
                floor == 0 || (floor..=self.sent).filter(possible).any(|change| change % 3 == 0)
            }
        };
        assert!(fits, "{shown:?} is shown, {floor} was told: {self:?}");
        self.told = self.told.max(shown.unwrap_or(0));
    }
}

/// The last that somebody heard of a user in one stay.
#[derive(Clone, Copy, Default)]
struct Heard {
    plain: Option<u64>,
    pose: u64,
    change: u64,
}

struct User {
    line: Line,
    name: u64,
    /// The room it wants to be in.
    wants: usize,
    /// The room it is in; none once it goes elsewhere.
    room: Option<usize>,
    /// The room that it was told it is in last.
    told: Option<usize>,
    /// Counts the rooms that it was in.
    stay: u64,
    /// Somebody was told that it is there before it asked for it.
    existed: bool,
    /// What others had been told of annotations when it asked to be let in.
    floor: BTreeMap<u64, u64>,
    plain: u64,
    pose: u64,
    users: BTreeSet<u64>,
    heard: BTreeMap<(u64, u64), Heard>,
    /// Questions that are not answered, with the last change before each.
    asked: Vec<(u64, u64)>,
    questions: u64,
}

#[derive(Default)]
pub(super) struct Gallery {
    users: Vec<User>,
    notes: BTreeMap<u64, Note>,
    /// Rooms that somebody was told are there.
    exists: [bool; ROOMS as usize],
    names: u64,
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("a number is expected, not {value}"))
}

/// The number in an id, `g7`.
fn name_of(id: &Value) -> u64 {
    let number = id.as_str().and_then(|id| id.strip_prefix('g')?.parse().ok());
    number.unwrap_or_else(|| panic!("{id} is nobody's id"))
}

impl User {
    fn hear(&mut self, text: &str, game: &mut Knowledge<'_>, stage: &mut Stage) {
        stage.trace(|| format!("gallery {}: {text}", self.name));
        let event: Value = serde_json::from_str(text).expect("events are JSON");
        let data = &event["data"];
        stage.met.gallery[0] += 1;
        match event["event"].as_str() {
            Some("connected") => {
                assert_eq!(name_of(&data["userId"]), self.name);
                self.create(game);
            }
            Some("room_created") => {
                assert!(!self.existed, "room {} was there, and is lost", self.wants);
                game.exists[self.wants] = true;
                self.join(game.notes);
            }
            Some("room_joined") => self.on_joined(&data["roomInfo"], game, stage),
            Some("user_joined") => {
                let name = name_of(&data["user"]["id"]);
                assert!(name != self.name && self.users.insert(name), "{name} is there already");
            }
            Some("user_left") => {
                let name = name_of(&data["userId"]);
                assert!(self.users.remove(&name), "{name} was not there");
            }
            Some("message") => self.on_message(data, game, stage),
            Some("error") => self.on_error(data, game, stage),
            _ => panic!("a user does not expect {text}"),
        }
    }

    /// A room that is kept must be there before anybody joins it.
    fn create(&mut self, game: &Knowledge<'_>) {
        self.existed = game.exists[self.wants];
        let room = format!("room{}", self.wants);
        let ask = json!({"action": "create_room", "roomId": room, "config": {"persistent": true}});
        self.line.text(&ask.to_string());
    }

    fn join(&mut self, notes: &BTreeMap<u64, Note>) {
        self.floor = notes.iter().map(|(&name, note)| (name, note.told)).collect();
        let user = json!({"userId": format!("g{}", self.name), "name": "n", "role": "host"});
        let room = format!("room{}", self.wants);
        let ask = json!({"action": "join_room", "roomId": room, "userInfo": user});
        self.line.text(&ask.to_string());
    }

    fn on_joined(&mut self, info: &Value, game: &mut Knowledge<'_>, stage: &mut Stage) {
        assert_eq!(info["roomId"], format!("room{}", self.wants));
        (self.room, self.told) = (Some(self.wants), Some(self.wants));
        // What was said there meanwhile, it was not told.
        self.heard.clear();
        let users = info["users"].as_array().expect("users");
        self.users = users.iter().map(|user| name_of(&user["id"])).collect();
        assert_eq!(self.users.len(), users.len(), "somebody is there twice");
        assert!(self.users.contains(&self.name));
        let annotations = info["state"]["annotations"].as_array().expect("annotations");
        let shown = annotations.iter().map(|one| (name_of(&one["id"]), number(&one["text"])));
        let shown: BTreeMap<u64, u64> = shown.collect();
        assert_eq!(shown.len(), annotations.len(), "an annotation is there twice");
        for (name, note) in game.notes.iter_mut().filter(|(_, note)| note.room == self.wants) {
            let floor = self.floor.get(name).copied().unwrap_or(0);
            note.check(shown.get(name).copied(), floor);
            stage.met.gallery[1] += usize::from(floor > 0 && stage.life > 1);
        }
    }

    fn on_message(&mut self, data: &Value, game: &mut Knowledge<'_>, stage: &mut Stage) {
        let (sender, message) = (name_of(&data["senderId"]), &data["message"]);
        assert!(sender != self.name && self.users.contains(&sender), "{sender} is not there");
        let [stay, count] = ["stay", "n"].map(|key| number(&message["at"][key]));
        assert_eq!(message["at"]["room"].as_u64(), self.told.map(|room| room as u64));
        let heard = self.heard.entry((sender, stay)).or_default();
        match message["type"].as_str() {
            Some("pose_update") => {
                assert!(std::mem::replace(&mut heard.pose, count) < count, "poses in order");
            }
            Some("annotation_add" | "annotation_remove") => {
                assert!(std::mem::replace(&mut heard.change, count) < count, "changes in order");
                let note = game.notes.get_mut(&sender).expect("it was sent");
                assert!(!note.refused.contains(&count), "it was refused");
                note.told = note.told.max(count);
                stage.met.gallery[2] += 1;
            }
            _ => {
                let before = heard.plain.replace(count);
                assert!(before.is_none_or(|before| count == before + 1), "{before:?}, {count}");
            }
        }
    }

    fn on_error(&mut self, data: &Value, game: &mut Knowledge<'_>, stage: &mut Stage) {
        let text = data["message"].as_str().expect("a text");
        if let Some(question) = text.strip_prefix("Unknown action: well ") {
            let (expected, change) = self.asked.remove(0);
            assert_eq!(question.parse(), Ok(expected), "answers come in order, each once");
            if let Some(note) = game.notes.get_mut(&self.name) {
                let accepted = (1..=change).rev().find(|change| !note.refused.contains(change));
                note.told = note.told.max(accepted.unwrap_or(0));
            }
            return;
        }
        match text {
            "Room already exists" => {
                game.exists[self.wants] = true;
                self.join(game.notes);
            }
            "Server is read-only" => {
                assert!(stage.troubled, "nothing has failed");
                self.create(game);
            }
            "Room is read-only" => {
                assert!(stage.troubled, "nothing has failed");
                let note = game.notes.get_mut(&self.name).expect("it has changed something");
                note.refused.insert(number(&data["requestId"]));
            }
            _ => panic!("a user does not expect {text:?}"),
        }
    }

    fn act(&mut self, game: &mut Knowledge<'_>, stage: &mut Stage) {
        let Some(room) = self.room else { return };
        match stage.random.below(12) {
            0 => {
                // It goes from here; what it says then is said there.
                self.wants = stage.random.below(ROOMS) as usize;
                if self.wants != room {
                    self.room = None;
                    self.stay += 1;
                    self.plain = 0;
                    self.line.text(r#"{"action":"leave_room"}"#);
                    self.create(game);
                }
            }
            1..4 => self.pose(stage),
            4..7 => self.change(game.notes),
            7 => {
                self.questions += 1;
                let change = game.notes.get(&self.name).map_or(0, |note| note.sent);
                self.asked.push((self.questions, change));
                self.line.text(&json!({"action": format!("well {}", self.questions)}).to_string());
            }
            _ => self.talk(stage),
        }
    }

    fn talk(&mut self, stage: &mut Stage) {
        self.plain += 1;
        let size = if stage.random.one_in(20) { 4_000 } else { 30 };
        let filler = "-".repeat(stage.random.below(size) as usize);
        self.say("chat", self.plain, &Value::from(filler));
    }

    /// At times so long that a slow reader cannot be sent every one.
    fn pose(&mut self, stage: &mut Stage) {
        self.pose += 1;
        let size = if stage.random.one_in(3) { 40_000 } else { 30 };
        let filler = "-".repeat(stage.random.below(size) as usize);
        self.say("pose_update", self.pose, &Value::from(filler));
    }

    fn change(&mut self, notes: &mut BTreeMap<u64, Note>) {
        let Some(room) = self.room else { return };
        let note = notes.entry(self.name).or_insert_with(|| Note { room, ..Note::default() });
        if note.room != room {
            return;
        }
        note.sent += 1;
        let (id, change) = (format!("g{}", self.name), note.sent);
        if change % 3 == 0 {
            self.say("annotation_remove", change, &Value::from(id));
        } else {
            self.say("annotation_add", change, &json!({"id": id, "userId": id, "text": change}));
        }
    }

    fn say(&mut self, kind: &str, count: u64, data: &Value) {
        let at = json!({"room": self.room, "stay": self.stay, "n": count});
        let message = json!({"type": kind, "timestamp": 5, "data": data, "at": at});
        let ask = json!({"action": "broadcast", "requestId": count, "message": message});
        self.line.text(&ask.to_string());
    }
}

/// What all users know together.
struct Knowledge<'a> {
    notes: &'a mut BTreeMap<u64, Note>,
    exists: &'a mut [bool; ROOMS as usize],
}

impl Gallery {
    fn connect(&mut self, stage: &mut Stage) {
        self.names += 1;
        let line = Line::dial(stage, &format!("/gallery?userId=g{}", self.names));
        self.users.push(User {
            line,
            name: self.names,
            wants: stage.random.below(ROOMS) as usize,
            existed: false,
            room: None,
            told: None,
            stay: 0,
            floor: BTreeMap::new(),
            plain: 0,
            pose: 0,
            users: BTreeSet::new(),
            heard: BTreeMap::new(),
            asked: Vec::new(),
            questions: 0,
        });
    }
}

impl Play for Gallery {
    fn act(&mut self, stage: &mut Stage) {
        if self.users.is_empty() || self.users.len() < USERS_MAX && stage.random.one_in(8) {
            return self.connect(stage);
        }
        let at = stage.random.below(self.users.len() as u64) as usize;
        let mut game = Knowledge { notes: &mut self.notes, exists: &mut self.exists };
        self.users[at].act(&mut game, stage);
    }

    fn listen(&mut self, all: bool, stage: &mut Stage) {
        for user in &mut self.users {
            if !(all || stage.random.one_in(2)) {
                continue;
            }
            let bytes = if all { usize::MAX } else { stage.random.below(3_000) as usize };
            let mut game = Knowledge { notes: &mut self.notes, exists: &mut self.exists };
            for frame in user.line.hear(bytes) {
                let text = frame.into_text().expect("events are texts");
                user.hear(&text, &mut game, stage);
            }
            let is_expected = matches!(user.line.close, None | Some(1000 | 1001 | 1013));
            assert!(is_expected, "closed with {:?}", user.line.close);
        }
        self.users.retain(|user| !user.line.is_over());
    }

    fn rally(&mut self, stage: &mut Stage) {
        for user in self.users.iter_mut().filter(|user| user.room.is_some()) {
            user.change(&mut self.notes);
            user.talk(stage);
            user.pose(stage);
        }
    }

    fn check(&mut self, _: &mut Stage) {
        for user in &self.users {
            let room = user.room.expect("whoever asks is let in");
            let there = || self.users.iter().filter(|other| other.room == Some(room));
            let names: BTreeSet<u64> = there().map(|other| other.name).collect();
            assert_eq!(user.users, names, "whom {} knows to be there", user.name);
            assert!(user.asked.is_empty(), "{} was not answered", user.name);
            for other in there().filter(|other| other.name != user.name) {
                let heard = user.heard.get(&(other.name, other.stay)).copied().unwrap_or_default();
                assert_eq!(heard.plain, Some(other.plain), "a message of {} is lost", other.name);
                assert_eq!(heard.pose, other.pose, "the last pose of {}", other.name);
            }
        }
    }

    fn cut(&mut self, _: &mut Stage) {
        self.users.clear();
    }

    fn lines(&mut self) -> Vec<&mut Line> {
        self.users.iter_mut().map(|user| &mut user.line).collect()
    }
}
