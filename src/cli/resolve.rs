//! From flags and environment to settings: who set what, and who wins.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use clap::ArgMatches;

use super::exit;
use super::list::{self, Default, Draft, EXCLUSIVE, Setting, Takes};
use super::settings::{Contradiction, Settings};
use super::values::{Complaint, nearest, switch};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Default,
    /// A variable of an original server.
    Original(&'static str),
    /// A variable of our own.
    Variable(String),
    Flag,
}

impl Origin {
    /// Who wins: the heavier one.
    fn weight(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::Original(_) => 1,
            Self::Variable(_) => 2,
            Self::Flag => 3,
        }
    }

    fn exit_code(&self) -> u8 {
        if *self == Self::Flag { exit::USAGE } else { exit::CONFIGURATION }
    }
}

/// A setting, its values and where they came from.
#[derive(Clone, Debug)]
struct Given {
    setting: &'static Setting,
    origin: Origin,
    values: Vec<String>,
}

impl Given {
    fn by_default(setting: &'static Setting) -> Self {
        let values = match setting.default {
            Default::Is(text) => vec![text.to_owned()],
            Default::Told(_) => Vec::new(),
        };
        Self { setting, origin: Origin::Default, values }
    }
}

impl fmt::Display for Given {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (flag, mut values) = (self.setting.flag, self.values.join(","));
        if matches!(self.setting.takes, Takes::One("KEY" | "SECRET")) {
            values = "(not shown)".to_owned();
        }
        match &self.origin {
            Origin::Default => write!(out, "the default of --{flag}"),
            Origin::Original(name) => write!(out, "{name}={values}"),
            Origin::Variable(name) => write!(out, "{name}={values}"),
            Origin::Flag if self.setting.takes == Takes::Nothing => write!(out, "--{flag}"),
            Origin::Flag => write!(out, "--{flag} {values}"),
        }
    }
}

/// Settings that cannot be had: what failed, which value from where, what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error: {what}\n  given by {given}\n  {remedy}")]
pub(super) struct Problem {
    what: String,
    given: String,
    remedy: String,
    /// One of [`exit`].
    pub(super) code: u8,
}

/// The environment: variables that are text and not empty.
pub(super) struct Environment {
    variables: BTreeMap<String, String>,
    warnings: Vec<String>,
}

impl Environment {
    pub(super) fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut environment = Self { variables: BTreeMap::new(), warnings: Vec::new() };
        for (name, value) in variables {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) if value.is_empty() => {}
                Ok(value) => environment.add(name, value),
                Err(_) if name.starts_with(PREFIX) => {
                    environment.warnings.push(format!("{name} is ignored: it is not UTF-8"));
                }
                Err(_) => {}
            }
        }
        environment
    }

    fn add(&mut self, name: String, value: String) {
        let ours = name.starts_with(PREFIX) && !is_service_link(&name, &value);
        let known = list::every().any(|setting| setting.variable() == name);
        if ours && !known {
            // By what is their own: all of them begin alike.
            let names: Vec<_> = list::every().map(Setting::variable).collect();
            let names: Vec<_> = names.iter().filter_map(|name| name.strip_prefix(PREFIX)).collect();
            let own = name.strip_prefix(PREFIX).unwrap_or(&name);
            let hint = nearest(own, &names).map(|name| format!("; did you mean {PREFIX}{name}?"));
            let hint = hint.unwrap_or_default();
            self.warnings.push(format!("{name} is ignored: there is no such setting{hint}"));
        }
        if ours || !name.starts_with(PREFIX) {
            self.variables.insert(name, value);
        }
    }
}

const PREFIX: &str = "LOCKSTEP_";

/// Whether Kubernetes or Docker made this variable up for a service named `lockstep`:
/// `LOCKSTEP_PORT=tcp://10.0.0.1:8080`, `LOCKSTEP_SERVICE_HOST`, `LOCKSTEP_PORT_8080_TCP_ADDR`.
fn is_service_link(name: &str, value: &str) -> bool {
    let rest = name.trim_start_matches(PREFIX);
    let address = value.starts_with("tcp://") || value.starts_with("udp://");
    address || rest.starts_with("SERVICE_") || (rest.starts_with("PORT_") && rest.contains("_TCP"))
}

/// Reads all settings.
pub(super) fn resolve(
    flags: &[&ArgMatches],
    environment: Environment,
) -> Result<Settings, Problem> {
    let mut all = Vec::with_capacity(list::every().count());
    for setting in list::every() {
        all.push(given(setting, flags, &environment)?);
    }
    for (one, other) in EXCLUSIVE {
        exclude(&mut all, one, other)?;
    }
    let mut draft = Draft::new();
    for given in &all {
        for value in &given.values {
            (given.setting.apply)(&mut draft, value).map_err(|it| problem(it, given))?;
        }
    }
    let settings = Settings { warnings: environment.warnings, ..draft.finish() };
    settings.validate().map_err(|contradiction| explain(&contradiction, &all))?;
    Ok(settings)
}

fn problem(complaint: Complaint, given: &Given) -> Problem {
    let Complaint { what, remedy } = complaint;
    Problem { what, given: given.to_string(), remedy, code: given.origin.exit_code() }
}

/// Finds a setting's value: flag, own variable, an original's variable, default.
fn given(
    setting: &'static Setting,
    flags: &[&ArgMatches],
    environment: &Environment,
) -> Result<Given, Problem> {
    let values = flags.iter().rev().find_map(|matches| flag_values(setting, matches));
    if let Some(values) = values {
        return Ok(Given { setting, origin: Origin::Flag, values });
    }
    let own = setting.variable();
    let original = || {
        let name = setting.originals.iter().find(|name| environment.variables.contains_key(**name));
        name.map(|name| (Origin::Original(name), &environment.variables[*name]))
    };
    let found = environment.variables.get(&own);
    let Some((origin, text)) = found.map(|it| (Origin::Variable(own), it)).or_else(original) else {
        return Ok(Given::by_default(setting));
    };
    let values = match setting.takes {
        Takes::Many(_) => parts(text),
        Takes::One(_) | Takes::Nothing => vec![text.clone()],
    };
    let given = Given { setting, origin, values };
    if setting.takes == Takes::Nothing && !switch(text).map_err(|it| problem(it, &given))? {
        return Ok(Given::by_default(setting));
    }
    Ok(given)
}

fn flag_values(setting: &Setting, matches: &ArgMatches) -> Option<Vec<String>> {
    if setting.takes == Takes::Nothing {
        return matches.get_flag(setting.flag).then(|| vec!["true".to_owned()]);
    }
    let values = matches.get_many::<String>(setting.flag)?;
    Some(match setting.takes {
        Takes::Many(_) => values.flat_map(|text| parts(text)).collect(),
        _ => values.cloned().collect(),
    })
}

fn parts(text: &str) -> Vec<String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

/// Settles what excludes each other; the loser goes back to its default.
fn exclude(all: &mut [Given], one: &[&str], other: &[&str]) -> Result<(), Problem> {
    let heaviest = |flags: &[&str]| {
        let givens = all.iter().filter(|given| flags.contains(&given.setting.flag));
        givens.max_by_key(|given| given.origin.weight())
    };
    let (Some(a), Some(b)) = (heaviest(one), heaviest(other)) else { return Ok(()) };
    let (a_weight, b_weight) = (a.origin.weight(), b.origin.weight());
    if a_weight == b_weight && a_weight > 0 {
        return Err(Problem {
            what: format!("--{} and --{} exclude each other", a.setting.flag, b.setting.flag),
            given: format!("{a} and {b}"),
            remedy: "leave out one of them".to_owned(),
            code: a.origin.exit_code(),
        });
    }
    let loser = if a_weight > b_weight { other } else { one };
    for given in all.iter_mut().filter(|given| loser.contains(&given.setting.flag)) {
        *given = Given::by_default(given.setting);
    }
    Ok(())
}

/// Says where the values of a contradiction came from, and what to do.
fn explain(contradiction: &Contradiction, all: &[Given]) -> Problem {
    let (flags, remedy): (&[&str], _) = match contradiction {
        Contradiction::NoListener => (&["listen"], "give at least one --listen PROFILE=ADDRESS"),
        Contradiction::PortTaken { .. } => (&["listen"], "give each listener a port of its own"),
        Contradiction::FileAboveQuota { .. } => {
            (&["file-bytes-max", "files-bytes-max"], "lower the first or raise the second")
        }
        Contradiction::NoApiKey => {
            (&["gallery-require-api-key"], "set API_KEY, or do not require one")
        }
        Contradiction::NoJwtSecret => {
            (&["comutiny-require-login"], "set JWT_SECRET, or do not require a login")
        }
        Contradiction::NoWriteToken => {
            (&["yjs-read-token"], "give --yjs-write-token too, or leave this one out")
        }
        Contradiction::ReceiveBuffers(_) => (&["receive-buffers"], "give 64, 128, 256, 512 …"),
    };
    let involved: Vec<_> = all.iter().filter(|given| flags.contains(&given.setting.flag)).collect();
    let code = involved.iter().max_by_key(|given| given.origin.weight());
    let given: Vec<_> = involved.iter().map(|given| given.to_string()).collect();
    Problem {
        what: contradiction.to_string(),
        given: given.join(" and "),
        remedy: remedy.to_owned(),
        code: code.map_or(exit::CONFIGURATION, |given| given.origin.exit_code()),
    }
}
