//! Messages inside `broadcast` and `send_message` (specs: gallery §4, §5): what they change, who may
//! say them, and how they are passed on.

use smallvec::SmallVec;

use super::decode::INVALID_MESSAGE;
use super::encode::{MESSAGE_HEAD, MESSAGE_SENDER, MESSAGE_TAIL};
use super::state::{Change, Patch, Refused, State, Version};
use super::user::{Role, User};
use super::{Config, DEPTH_MAX, Permissions};
use crate::codec::json::{self, Raw};
use crate::session::{Class, Instant};

/// Longest id of an annotation, in bytes.
const ANNOTATION_ID_BYTES_MAX: usize = 256;

const DENIED: &str = "Permission denied";
const STALE: &str = "Stale version";
const BAD_VERSION: &str = "Invalid version";
const TOO_LARGE: &str = "State too large";
const READ_ONLY: &str = "Room is read-only";

/// The parts of a message as it is passed on.
pub(super) type Parts<'a> = SmallVec<[&'a [u8]; 8]>;

/// A message to be passed on.
#[derive(Debug)]
pub(super) struct Inner<'a> {
    message: Raw<'a>,
    pub(super) kind: Kind,
    data: Option<Raw<'a>>,
    /// Every value that claims to name the sender: one, unless somebody plays tricks.
    senders: SmallVec<[Raw<'a>; 2]>,
}

/// What is done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Passed on; a newer one of the same kind and sender makes it worthless. Which kind.
    Fleeting(Fleeting),
    /// Passed on.
    Plain,
    CameraControl,
    StateUpdate,
    StateFull,
    AnnotationAdd,
    AnnotationRemove,
    FocusChange,
}

/// The kinds of messages that only matter until the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fleeting {
    Pose,
    Gaze,
}

impl Fleeting {
    /// The class of those of one user, who joined a room as its `serial`th.
    pub(super) fn class(self, serial: u64) -> Class {
        match self {
            Self::Pose => serial << 1,
            Self::Gaze => serial << 1 | 1,
        }
    }
}

/// Whether a message is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    /// It is not; its sender is told why.
    Refuse(&'static str),
    /// It is not; its sender is told why, and what the state is.
    Heal(&'static str),
    /// It makes no sense.
    Malformed,
}

impl<'a> Inner<'a> {
    /// Looks into a message; anything but an object has no type.
    pub(super) fn new(message: Raw<'a>) -> Self {
        let (mut kind, mut data, mut senders) = (Kind::Plain, None, SmallVec::new());
        for (key, value) in message.fields() {
            if key.is_string_of("type") {
                kind = Kind::of(value);
            } else if key.is_string_of("data") {
                data = Some(value);
            } else if key.is_string_of("senderId") {
                senders.push(value);
            }
        }
        Self { message, kind, data, senders }
    }

    /// The event that passes it on. `sender` is the sender's id as JSON.
    pub(super) fn parts<'b>(&'b self, sender: &'b str) -> Parts<'b> {
        let whole = self.message.as_str();
        let mut parts: Parts<'b> = SmallVec::new();
        parts.push(MESSAGE_HEAD);
        let mut at = 0;
        for lie in self.senders.iter().map(|sender| sender.as_str()).filter(|id| *id != sender) {
            let start = lie.as_ptr() as usize - whole.as_ptr() as usize;
            parts.push(&whole.as_bytes()[at..start]);
            parts.push(sender.as_bytes());
            at = start + lie.len();
        }
        parts.push(&whole.as_bytes()[at..]);
        parts.extend([MESSAGE_SENDER, sender.as_bytes(), MESSAGE_TAIL]);
        parts
    }

    /// Whether `user` may say this to one other; that never changes the state.
    pub(super) fn judge_private(&self, user: &User, state: &State, config: &Config) -> Verdict {
        match self.allowed(user, state, &config.permissions) {
            Ok(true) => Verdict::Pass,
            Ok(false) => Verdict::Refuse(DENIED),
            Err(_) => Verdict::Malformed,
        }
    }

    /// The same while nothing that a persistent room keeps can be recorded.
    pub(super) fn judge_read_only(&self, user: &User, state: &State, config: &Config) -> Verdict {
        match (self.judge_private(user, state, config), self.kind) {
            (Verdict::Pass, Kind::StateUpdate) => Verdict::Heal(READ_ONLY),
            (Verdict::Pass, _) => Verdict::Refuse(READ_ONLY),
            (verdict, _) => verdict,
        }
    }

    /// Whether `user` may say this to all, and what it does to the room: `record` is told of each
    /// change that was made.
    pub(super) fn judge(
        &self,
        user: &User,
        state: &mut State,
        config: &Config,
        now: Instant,
        record: &mut dyn FnMut(&Change<'_>),
    ) -> Verdict {
        if matches!(self.kind, Kind::Fleeting(_) | Kind::Plain) {
            return Verdict::Pass;
        }
        let verdict = self.judge_private(user, state, config);
        if verdict != Verdict::Pass {
            return verdict;
        }
        let id = match self.kind {
            Kind::AnnotationAdd => self.annotation_id(),
            Kind::AnnotationRemove => self.removed_id(),
            _ => Ok(Box::default()),
        };
        let Ok(id) = id else { return Verdict::Malformed };
        let owner = user.id();
        let change = match (self.kind, self.data) {
            (Kind::StateUpdate, _) => match self.update(state) {
                Ok(change) => change,
                Err(verdict) => return verdict,
            },
            (Kind::AnnotationAdd, Some(json)) => Change::Annotate { id: &id, owner, json },
            (Kind::AnnotationRemove, _) => Change::Erase { id: &id },
            (Kind::FocusChange, Some(json)) if json.is_object() => Change::Focus { owner, json },
            (Kind::FocusChange, data) if data.is_none_or(Raw::is_null) => Change::Unfocus { owner },
            (Kind::FocusChange | Kind::AnnotationAdd, _) => return Verdict::Malformed,
            _ => return Verdict::Pass,
        };
        match state.apply(change, now, config.state_bytes_max) {
            Ok(()) => record(&change),
            Err(Refused::TooLarge) => return Verdict::Refuse(TOO_LARGE),
            Err(Refused::Malformed) => return Verdict::Malformed,
        }
        Verdict::Pass
    }

    fn update(&self, state: &State) -> Result<Change<'a>, Verdict> {
        let (patch, is_full, version) = self.state_update().map_err(|_| Verdict::Malformed)?;
        match state.version(version) {
            Version::Next(version) => Ok(Change::Update { version, is_full, patch }),
            Version::Stale => Err(Verdict::Heal(STALE)),
            Version::Invalid => Err(Verdict::Heal(BAD_VERSION)),
        }
    }

    fn allowed(
        &self,
        user: &User,
        state: &State,
        permissions: &Permissions,
    ) -> Result<bool, Refused> {
        let role = user.role;
        Ok(match self.kind {
            Kind::Fleeting(_) | Kind::Plain | Kind::FocusChange => true,
            Kind::CameraControl => role >= permissions.camera_control,
            Kind::StateFull => role == Role::Host,
            Kind::StateUpdate => self.may_update(role, state, permissions)?,
            Kind::AnnotationAdd => {
                role >= permissions.annotations && state.allows_annotations() && {
                    let id = self.annotation_id()?;
                    let owner = state.owner_of(&id);
                    role == Role::Host || owner.is_none_or(|owner| *owner == *user.id())
                }
            }
            Kind::AnnotationRemove => {
                role == Role::Host || state.owner_of(&self.removed_id()?) == Some(user.id())
            }
        })
    }

    /// Whether a role may change all that an update names.
    fn may_update(
        &self,
        role: Role,
        state: &State,
        permissions: &Permissions,
    ) -> Result<bool, Refused> {
        // Who may change nothing at all is told that, whatever it is.
        let Permissions { scene_change, tree_view_change, annotations, .. } = *permissions;
        if role < scene_change.min(tree_view_change).min(annotations).min(Role::Editor) {
            return Ok(false);
        }
        let (patch, is_full, _) = self.state_update()?;
        let settings = if is_full { !state.keeps_settings(&patch) } else { patch.has_settings() };
        let named = [
            (is_full || patch.has_scene(), scene_change),
            (is_full || patch.has_tree_view(), tree_view_change),
            (is_full || patch.has_annotations(), annotations),
            (is_full || patch.has_others(), Role::Editor),
            (settings, Role::Host),
        ];
        // One that names nothing still takes a version.
        let nothing = named.iter().all(|(is_named, _)| !is_named);
        let least = if nothing { Role::Editor } else { Role::Viewer };
        Ok(role >= least && named.iter().all(|&(is_named, least)| !is_named || role >= least))
    }

    fn state_update(&self) -> Result<(Patch<'a>, bool, Option<Raw<'a>>), Refused> {
        let update = self.data.ok_or(Refused::Malformed)?;
        let found = json::object_fields(update.as_str(), &["type", "data", "version"], DEPTH_MAX);
        let [kind, data, version] = found.map_err(|_| Refused::Malformed)?;
        let is_full = kind.is_some_and(|kind| kind.is_string_of("full"));
        Ok((Patch::decode(data)?, is_full, version))
    }

    fn annotation_id(&self) -> Result<Box<str>, Refused> {
        let data = self.data.ok_or(Refused::Malformed)?;
        let found = json::object_fields(data.as_str(), &["id"], DEPTH_MAX);
        let [id] = found.map_err(|_| Refused::Malformed)?;
        annotation_id(id)
    }

    fn removed_id(&self) -> Result<Box<str>, Refused> {
        annotation_id(self.data)
    }
}

impl Kind {
    /// Whether it changes what a persistent room keeps.
    pub(super) fn is_kept(self) -> bool {
        matches!(self, Self::StateUpdate | Self::AnnotationAdd | Self::AnnotationRemove)
    }

    fn of(name: Raw<'_>) -> Self {
        const KINDS: [(&str, Kind); 9] = [
            ("pose_update", Kind::Fleeting(Fleeting::Pose)),
            ("gaze_update", Kind::Fleeting(Fleeting::Gaze)),
            ("camera_frame", Kind::CameraControl),
            ("grant_control", Kind::CameraControl),
            ("state_update", Kind::StateUpdate),
            ("state_full", Kind::StateFull),
            ("annotation_add", Kind::AnnotationAdd),
            ("annotation_remove", Kind::AnnotationRemove),
            ("focus_change", Kind::FocusChange),
        ];
        let known = KINDS.iter().find(|(kind, _)| name.is_string_of(kind));
        known.map_or(Self::Plain, |(_, kind)| *kind)
    }
}

fn annotation_id(raw: Option<Raw<'_>>) -> Result<Box<str>, Refused> {
    let id = raw.and_then(Raw::to_string_value);
    let id = id.filter(|id| id.len() <= ANNOTATION_ID_BYTES_MAX);
    id.map(Into::into).ok_or(Refused::Malformed)
}

impl Verdict {
    /// What the sender is told if the message is not passed on, and whether with its request's id.
    pub(super) fn complaint(self) -> Option<(&'static str, bool)> {
        match self {
            Self::Pass => None,
            Self::Refuse(why) | Self::Heal(why) => Some((why, true)),
            Self::Malformed => Some((INVALID_MESSAGE, false)),
        }
    }
}
