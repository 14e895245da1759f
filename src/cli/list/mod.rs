//! The one list of settings. A line here is a flag, an environment variable, a configuration key, a
//! default and a line of help.

mod comutiny;
mod croquet;
mod gallery;
mod process;
mod rljson;
mod yjs;

use std::net::IpAddr;
use std::path::PathBuf;

use super::settings::{HOST, Listener, Profile, Settings};
use super::values::Complaint;
use crate::protocol::comutiny::{Accounts, Login};
use crate::storage::{BLOBS_BYTES_MAX_IN_MEMORY, FILES_BYTES_MAX_IN_MEMORY};

/// One thing that can be set.
#[derive(Debug)]
pub struct Setting {
    /// The flag, without its dashes. All other names follow from it.
    pub flag: &'static str,
    /// The flag's one-letter form.
    pub short: Option<char>,
    /// Where it stands in the help, and in a configuration.
    pub group: Group,
    /// What it takes.
    pub takes: Takes,
    /// Environment variables of the original servers that are honoured as well.
    pub originals: &'static [&'static str],
    /// What holds if nothing is said.
    pub default: Default,
    /// One line of help.
    pub doc: &'static str,
    pub(super) apply: fn(&mut Draft, &str) -> Result<(), Complaint>,
}

/// Settings that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Listeners, shards, connections.
    Serving,
    /// Files and records.
    Storage,
    /// Log lines.
    Log,
    /// CoMutiNy's world.
    Comutiny,
    /// The Croquet reflector.
    Croquet,
    /// Gallery rooms.
    Gallery,
    /// The rljson hub.
    Rljson,
    /// Documents.
    Yjs,
}

/// What a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// One value, of this kind.
    One(&'static str),
    /// Values of this kind: the flag is repeated, or they are separated by commas.
    Many(&'static str),
    /// Nothing; in the environment `true` or `false`.
    Nothing,
}

/// What holds if nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// This value.
    Is(&'static str),
    /// Something that depends on other settings, or none; as told here.
    Told(&'static str),
}

impl Setting {
    /// Its environment variable.
    pub fn variable(&self) -> String {
        format!("LOCKSTEP_{}", self.flag.to_uppercase().replace('-', "_"))
    }

    /// Its environment variables, the one that wins first.
    pub fn variables(&self) -> impl Iterator<Item = String> {
        let originals = self.originals.iter().map(|name| (*name).to_owned());
        std::iter::once(self.variable()).chain(originals)
    }

    /// Its key in a configuration: `croquet.message_bytes_max`.
    pub fn key(&self) -> String {
        let table = self.group.table();
        let own = self.flag.strip_prefix(table).and_then(|rest| rest.strip_prefix('-'));
        match own {
            Some(own) if !table.is_empty() => format!("{table}.{}", own.replace('-', "_")),
            _ => self.flag.replace('-', "_"),
        }
    }

    /// Its default as help shows it.
    pub fn default_text(&self) -> &'static str {
        match self.default {
            Default::Is(text) | Default::Told(text) => text,
        }
    }
}

impl Group {
    /// Title in the help.
    pub fn title(self) -> &'static str {
        match self {
            Self::Serving => "Serving",
            Self::Storage => "Files and records",
            Self::Log => "Log",
            Self::Comutiny => "CoMutiNy",
            Self::Croquet => "Croquet",
            Self::Gallery => "Gallery",
            Self::Rljson => "rljson",
            Self::Yjs => "Yjs and Zeal",
        }
    }

    /// The configuration table of flags that begin with its name.
    fn table(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Comutiny => "comutiny",
            Self::Croquet => "croquet",
            Self::Gallery => "gallery",
            Self::Rljson => "rljson",
            Self::Yjs => "yjs",
            Self::Serving | Self::Storage => "",
        }
    }
}

/// Two sets of settings that exclude each other. If both are given, the one given with more weight
/// wins (flag over environment); with equal weight it is a mistake.
pub(super) const EXCLUSIVE: &[(&[&str], &[&str])] =
    &[(&["listen"], &["as", "host", "port"]), (&["in-memory"], &["data-dir"])];

/// Quota of all files on disk, in bytes.
const FILES_BYTES_MAX: u64 = 10 << 30;
/// Blobs that are kept on disk, in bytes.
const BLOBS_BYTES_MAX: u64 = 10 << 30;
const SECRET_BYTES_MAX: usize = 512;
/// Longest path, name or origin, in bytes.
const PLAIN_BYTES_MAX: usize = 4096;
const YEAR_MS: u64 = 366 * 86_400_000;
const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;

/// Settings on their way: values that others decide about are still apart.
#[derive(Debug)]
pub(super) struct Draft {
    settings: Settings,
    profile: Option<Profile>,
    listeners: Vec<Listener>,
    host: IpAddr,
    port: Option<u16>,
    data_dir: PathBuf,
    in_memory: bool,
    files_bytes_max: Option<u64>,
    comutiny_accounts: Accounts,
    rljson_blob_bytes_max: Option<u64>,
    comutiny_login: Login,
    comutiny_requires_login: bool,
    gallery_api_key: Option<String>,
    gallery_requires_api_key: bool,
    verbose: bool,
}

impl Draft {
    pub(super) fn new() -> Self {
        Self {
            settings: Settings::default(),
            profile: None,
            listeners: Vec::new(),
            host: HOST,
            port: None,
            data_dir: PathBuf::new(),
            in_memory: false,
            files_bytes_max: None,
            comutiny_accounts: Accounts::default(),
            rljson_blob_bytes_max: None,
            comutiny_login: Login::default(),
            comutiny_requires_login: false,
            gallery_api_key: None,
            gallery_requires_api_key: false,
            verbose: false,
        }
    }

    /// Decides what depends on several settings.
    pub(super) fn finish(self) -> Settings {
        let mut settings = self.settings;
        settings.listeners = self.listeners;
        if settings.listeners.is_empty() {
            let profile = self.profile.unwrap_or(Profile::All);
            let address = (self.host, self.port.unwrap_or_else(|| profile.port())).into();
            settings.listeners.push(Listener { profile, address });
        }
        settings.data_dir = (!self.in_memory).then_some(self.data_dir);
        let (files, blobs) = if self.in_memory {
            (FILES_BYTES_MAX_IN_MEMORY, BLOBS_BYTES_MAX_IN_MEMORY / 4 * 3)
        } else {
            (FILES_BYTES_MAX, BLOBS_BYTES_MAX)
        };
        settings.files_bytes_max = self.files_bytes_max.unwrap_or(files);
        settings.rljson.blob_bytes_max = self.rljson_blob_bytes_max.unwrap_or(blobs);
        // What is on its way there, or away, takes room as well.
        settings.blobs_bytes_max = settings.rljson.blob_bytes_max / 3 * 4;
        let Login { secret, cookie, .. } = self.comutiny_login.clone();
        let are_accounts = !secret.is_empty() && self.comutiny_accounts.limits.accounts_max > 0;
        settings.comutiny.accounts =
            are_accounts.then_some(Accounts { secret, cookie, ..self.comutiny_accounts });
        settings.comutiny.login = self.comutiny_requires_login.then_some(self.comutiny_login);
        if self.gallery_requires_api_key {
            settings.gallery.api_key = Some(self.gallery_api_key.unwrap_or_default());
        }
        if self.verbose {
            let filter = std::mem::take(&mut settings.log_filter);
            settings.log_filter = filter.at_least("lockstep", log::LevelFilter::Debug);
        }
        settings
    }
}

/// Every setting, in the order of the help.
pub fn every() -> impl Iterator<Item = &'static Setting> {
    let lists = [
        process::SETTINGS,
        comutiny::SETTINGS,
        croquet::SETTINGS,
        gallery::SETTINGS,
        rljson::SETTINGS,
        yjs::SETTINGS,
    ];
    lists.into_iter().flatten()
}

/// The setting of this flag.
pub fn by_flag(flag: &str) -> Option<&'static Setting> {
    every().find(|setting| setting.flag == flag)
}

/// A complaint about a secret does not repeat it.
fn secret(text: &str) -> Result<String, Complaint> {
    if text.len() <= SECRET_BYTES_MAX && !text.chars().any(char::is_control) {
        return Ok(text.to_owned());
    }
    let remedy = format!("give up to {SECRET_BYTES_MAX} bytes of plain text");
    Err(Complaint::new("the secret cannot be used", remedy))
}

/// Text without control characters.
fn plain(text: &str) -> Result<String, Complaint> {
    if text.len() <= PLAIN_BYTES_MAX && !text.chars().any(char::is_control) {
        return Ok(text.to_owned());
    }
    let remedy = format!("give up to {PLAIN_BYTES_MAX} bytes of plain text");
    Err(Complaint::new(format!("{text:?} cannot be used"), remedy))
}
