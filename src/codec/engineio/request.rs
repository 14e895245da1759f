//! What a request asks of Engine.IO, and how it is refused (specs: socketio §1, §2).

/// How packets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// In the bodies of requests and responses.
    Polling,
    /// As messages of a WebSocket.
    WebSocket,
}

/// What the query of a request says. Of repeated keys the last counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Query<'a> {
    /// `transport`, if it is one of ours.
    pub means: Option<Means>,
    /// `EIO` is 4.
    pub is_version_4: bool,
    /// `sid`, unless empty.
    pub sid: Option<&'a str>,
}

impl<'a> Query<'a> {
    /// Reads a query. None of the values has anything to be percent-decoded.
    pub fn parse(query: &'a str) -> Self {
        let mut read = Self::default();
        for pair in query.split('&') {
            match pair.split_once('=') {
                Some(("transport", value)) => {
                    read.means = match value {
                        "polling" => Some(Means::Polling),
                        "websocket" => Some(Means::WebSocket),
                        _ => None,
                    };
                }
                Some(("EIO", value)) => read.is_version_4 = value == "4",
                Some(("sid", value)) => read.sid = Some(value).filter(|sid| !sid.is_empty()),
                _ => {}
            }
        }
        read
    }
}

/// Why a request is refused: the codes that clients know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
#[repr(u8)]
pub enum Refusal {
    /// `transport` is none of ours.
    UnknownTransport = 0,
    /// There is no such session, or no more.
    UnknownSid = 1,
    /// A session is opened by GET.
    BadMethod = 2,
    /// It makes no sense now.
    BadRequest = 3,
    /// Its origin is not allowed.
    Forbidden = 4,
    /// `EIO` is not 4.
    UnsupportedVersion = 5,
}

impl Refusal {
    /// Status of the response.
    pub fn status(self) -> u16 {
        if self == Self::Forbidden { 403 } else { 400 }
    }

    /// What a human is told.
    pub fn message(self) -> &'static str {
        match self {
            Self::UnknownTransport => "Transport unknown",
            Self::UnknownSid => "Session ID unknown",
            Self::BadMethod => "Bad handshake method",
            Self::BadRequest => "Bad request",
            Self::Forbidden => "Forbidden",
            Self::UnsupportedVersion => "Unsupported protocol version",
        }
    }

    /// Body of the response: JSON.
    pub fn body(self) -> String {
        format!(r#"{{"code":{},"message":"{}"}}"#, self as u8, self.message())
    }
}
