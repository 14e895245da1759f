//! Clients of CoMutiNy's world. Whatever happens: what each is shown and told adds up to the world that
//! whoever comes last is shown; the states of a player come in order, each once, and its departure is
//! told however it went; everything that is asked is answered once, in order; and the chat is one row of
//! messages for everybody and over all processes, in which nothing is lost that anybody was told, and
//! nothing there that was refused.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Value, json};

use super::Play;
use super::line::Line;
use super::socketio::Socket;
use super::stage::Stage;
use crate::protocol::comutiny::tests::players::Players;
use crate::protocol::socketio::said::Said;

const CLIENTS_MAX: usize = 6;
const PLAYERS: u64 = 4;
const PATH: &str = "/comutiny/socket.io/";
/// Messages that the chat keeps, one of which may be a greeting.
const KEPT: usize = 50;

/// What a client was asked to be answered.
enum Asked {
    Join,
    Update,
    Leave,
    Talk(String),
}

/// What a client knows of the world.
#[derive(Default)]
struct View {
    players: Players,
    /// Number of the last state of each client's player that it was told, or shown.
    told: BTreeMap<u64, u64>,
    shown: BTreeMap<u64, u64>,
    /// Messages of the chat before the next that it will be told.
    chat: usize,
}

struct Client {
    socket: Socket,
    name: u64,
    /// Messages that others had been told when it came.
    floor: usize,
    view: Option<View>,
    asked: VecDeque<(u64, Asked)>,
    /// Numbers what it says.
    said: u64,
    terminated: bool,
}

/// The chat, as far as anybody was told.
#[derive(Default)]
struct Chat {
    order: Vec<Value>,
    places: BTreeMap<String, usize>,
    refused: BTreeSet<String>,
    /// The last message of each client.
    newest: BTreeMap<u64, u64>,
}

#[derive(Default)]
pub(super) struct Comutiny {
    clients: Vec<Client>,
    names: u64,
    chat: Chat,
}

impl Chat {
    fn place(&self, message: &Value) -> Option<usize> {
        let place = *self.places.get(message["content"].as_str()?)?;
        assert_eq!(self.order[place], *message, "a message has changed, or is there twice");
        Some(place)
    }

    fn push(&mut self, message: &Value) {
        let content = message["content"].as_str().expect("a text").to_owned();
        assert!(!self.refused.contains(&content), "{content} was refused, and is there");
        let (by, number) = content.split_once('.').expect("all are numbered");
        let [by, number] = [by, number].map(|text| text.parse().expect("a number"));
        assert!(self.newest.insert(by, number) < Some(number), "{content} is out of order");
        self.places.insert(content, self.order.len());
        self.order.push(message.clone());
    }

    /// Somebody is told a message; `place` is its place.
    fn tell(&mut self, place: usize, message: &Value) {
        match self.order.get(place) {
            Some(known) => assert_eq!(known, message, "two are told different things"),
            None => {
                assert_eq!(self.place(message), None, "it is told twice: {message}");
                self.push(message);
            }
        }
    }

    /// Somebody is shown the chat, who knows that there are `floor` messages; how many there are.
    fn show(&mut self, chat: &Value, floor: usize) -> usize {
        let all = chat.as_array().expect("a chat");
        assert!(all.len() <= KEPT);
        let said: Vec<&Value> =
            all.iter().filter(|message| message["playerId"] != "system").collect();
        let known = said.iter().take_while(|message| self.place(message).is_some()).count();
        let (old, new) = said.split_at(known);
        let end = old.last().and_then(|last| self.place(last)).map_or(0, |place| place + 1);
        assert!(end >= floor, "{floor} messages were told, and {end} are there");
        assert!(old.len() <= end, "more than was said: {chat}");
        let last = &self.order[end - old.len()..end];
        assert!(last.iter().eq(old.iter().copied()), "lost or out of order: {chat}");
        assert!(new.is_empty() || end == self.order.len(), "others were told others: {chat}");
        new.iter().for_each(|message| self.push(message));
        let there = end + new.len();
        assert!(said.len() >= there.min(KEPT - 1), "{} of {there} are shown", said.len());
        there
    }
}

/// Whose client a player is of, and the number of its state.
fn state_of(player: &Value) -> (u64, u64) {
    let [by, number] =
        ["by", "n"].map(|key| player["metadata"][key].as_u64().expect("it was said"));
    (by, number)
}

impl View {
    fn show(&mut self, snapshot: &Value) {
        self.players.show(snapshot);
        for player in self.players.known().values() {
            let (by, number) = state_of(player);
            let told = self.told.get(&by).copied().unwrap_or(0);
            assert!(told <= number, "an old state is shown: {player}");
            self.shown.insert(by, number);
        }
    }

    fn hear(&mut self, event: &str, value: &Value, chat: &mut Chat) {
        match event {
            "chat:message" => {
                chat.tell(self.chat, value);
                self.chat += 1;
            }
            "session:disconnect" | "session:terminated" => {}
            _ => assert!(self.players.hear(event, value), "{event} is never said"),
        }
        if matches!(event, "player:joined" | "player:updated") {
            let (by, number) = state_of(value);
            assert!(self.told.insert(by, number) < Some(number), "twice or late: {value}");
            let shown = self.shown.get(&by).copied().unwrap_or(0);
            assert!(shown <= number, "an old state is told: {value}");
        }
    }
}

impl Client {
    fn hear(&mut self, said: Said, chat: &mut Chat, stage: &mut Stage) {
        stage.trace(|| format!("comutiny {}: {said:?}", self.name));
        match said {
            Said::Connected => {}
            Said::Disconnected => self.terminated = true,
            Said::Event { name, args, ack: None } => {
                let [value] = &args[..] else { panic!("an event with one argument: {args:?}") };
                self.on_event(&name, value, chat, stage);
            }
            Said::Answer { ack, body, .. } => self.on_answer(ack, &body, chat),
            _ => panic!("a client does not expect {said:?}"),
        }
    }

    fn on_event(&mut self, event: &str, value: &Value, chat: &mut Chat, stage: &mut Stage) {
        stage.met.comutiny[0] += 1;
        if event == "world:state" {
            assert!(self.view.is_none(), "the world is shown once");
            let mut view = View::default();
            view.show(value);
            view.chat = chat.show(&value["chat"], self.floor);
            self.view = Some(view);
            return;
        }
        let view = self.view.as_mut().expect("it was shown the world");
        view.hear(event, value, chat);
        stage.met.comutiny[2] += usize::from(event == "session:terminated");
        stage.met.comutiny[1] += usize::from(event == "chat:message");
    }

    fn on_answer(&mut self, number: u64, body: &str, chat: &mut Chat) {
        let [answer]: [Value; 1] = serde_json::from_str(body).expect("answers are JSON");
        let (expected, asked) = self.asked.pop_front().expect("it asked for something");
        assert_eq!(number, expected, "answers come in order, each once");
        let view = self.view.as_mut().expect("it was shown the world");
        let is_ok = answer["ok"] == true;
        match asked {
            Asked::Talk(content) if is_ok => {
                let place = chat.place(&answer["message"]).expect("it was told before");
                assert!(place < view.chat && answer["message"]["content"] == *content);
            }
            Asked::Talk(content) => {
                assert!(!chat.places.contains_key(&content), "{content} was said: {answer}");
                chat.refused.insert(content);
            }
            _ if !is_ok => assert!(answer["message"].is_string(), "{answer}"),
            Asked::Join => {
                view.players.join(&answer["player"]);
                view.show(&answer["state"]);
                let there = chat.show(&answer["state"]["chat"], view.chat);
                assert_eq!(there, view.chat, "the chat is not what it was told");
            }
            Asked::Update => view.players.update(&answer["player"]),
            Asked::Leave => view.players.leave(),
        }
    }

    fn act(&mut self, stage: &mut Stage) {
        self.said += 1;
        let (name, number) = (self.name, self.said);
        let state = json!({"by": name, "n": number});
        match stage.random.below(12) {
            0..2 => {
                let id = format!("p{}", stage.random.below(PLAYERS));
                let said = json!({"playerId": id, "metadata": state});
                self.ask("player:join", &said, Asked::Join);
            }
            2..8 => {
                let said = json!({"position": {"x": number}, "metadata": state});
                self.ask("player:update", &said, Asked::Update);
            }
            8..11 => self.talk(),
            _ => self.ask("player:leave", &Value::Null, Asked::Leave),
        }
    }

    fn talk(&mut self) {
        let content = format!("{}.{}", self.name, self.said);
        self.ask("chat:message", &json!({"content": content}), Asked::Talk(content));
    }

    fn ask(&mut self, event: &str, said: &Value, asked: Asked) {
        self.asked.push_back((self.socket.ask(event, std::slice::from_ref(said)), asked));
    }

    fn is_there(&self) -> bool {
        self.socket.wire.is_well() && !self.terminated
    }
}

impl Comutiny {
    fn connect(&mut self, stage: &mut Stage) {
        self.names += 1;
        self.clients.push(Client {
            socket: Socket::dial(stage, PATH, ""),
            name: self.names,
            floor: self.chat.order.len(),
            view: None,
            asked: VecDeque::new(),
            said: 0,
            terminated: false,
        });
    }
}

impl Play for Comutiny {
    fn act(&mut self, stage: &mut Stage) {
        if self.clients.is_empty() || self.clients.len() < CLIENTS_MAX && stage.random.one_in(8) {
            return self.connect(stage);
        }
        let at = stage.random.below(self.clients.len() as u64) as usize;
        self.clients[at].act(stage);
    }

    fn listen(&mut self, all: bool, stage: &mut Stage) {
        for client in &mut self.clients {
            if !(all || stage.random.one_in(2)) {
                continue;
            }
            let bytes = if all { usize::MAX } else { stage.random.below(3_000) as usize };
            for said in client.socket.hear(bytes, stage) {
                client.hear(said, &mut self.chat, stage);
            }
        }
        self.clients.retain(|client| !client.socket.wire.is_over());
    }

    fn rally(&mut self, stage: &mut Stage) {
        for client in self.clients.iter_mut().filter(|client| client.is_there()) {
            client.said += 1;
            client.talk();
        }
        self.connect(stage);
    }

    fn check(&mut self, _: &mut Stage) {
        let there: Vec<&Client> = self.clients.iter().filter(|client| client.is_there()).collect();
        let players = |client: &&Client| client.view.as_ref().map(|view| view.players.clone());
        let last = there.last().and_then(players).expect("who came last was shown the world");
        let playing: BTreeSet<&String> =
            there.iter().filter_map(|client| client.view.as_ref()?.players.own()).collect();
        assert!(playing.into_iter().eq(last.known().keys()), "whoever is there plays, nobody else");
        for client in &there {
            let players = players(client).expect("it was shown the world");
            assert_eq!(players.known(), last.known(), "what {} knows", client.name);
            assert!(client.asked.is_empty(), "{} was not answered", client.name);
            let told = client.view.as_ref().map_or(0, |view| view.chat);
            assert_eq!(told, self.chat.order.len(), "the chat, as {} knows it", client.name);
        }
    }

    fn cut(&mut self, _: &mut Stage) {
        self.clients.clear();
    }

    fn lines(&mut self) -> Vec<&mut Line> {
        self.clients.iter_mut().flat_map(|client| client.socket.wire.lines()).collect()
    }
}
