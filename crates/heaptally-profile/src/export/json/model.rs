//! The shape of a snapshot in JSON, format 1. The schema for readers is in docs/exports.md.
//!
//! Texts are borrowed, from the snapshot or from the JSON. Sites, frames and functions refer to each other by index.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::numbers::{
    CapturesTwin, CountsTwin, LifetimesTwin, LossesTwin, OverheadTwin, PeakTwin, SegmentTwin, SymbolsTwin, TotalsTwin,
};
use crate::site_kind::SiteKind;

/// The format that is written, and the last one that can be read.
pub(super) const FORMAT: u64 = 1;

/// What tells the format, whatever else there is.
#[derive(Deserialize)]
pub(super) struct Head {
    pub(super) format: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SnapshotModel<'a> {
    pub(super) format: u64,
    pub(super) sequence: u64,
    pub(super) elapsed_ns: u64,
    pub(super) tick: u64,
    pub(super) totals: TotalsTwin,
    pub(super) totals_before: Option<TotalsTwin>,
    pub(super) peak: Option<PeakTwin>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) losses: LossesTwin,
    pub(super) overhead: OverheadTwin,
    pub(super) captures: CapturesTwin,
    pub(super) symbols: SymbolsTwin,
    #[serde(borrow)]
    pub(super) modules: Vec<ModuleModel<'a>>,
    pub(super) notes: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) threads: Vec<ThreadModel<'a>>,
    #[serde(borrow)]
    pub(super) mappings: Vec<MappingModel<'a>>,
    pub(super) files: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) functions: Vec<FunctionModel<'a>>,
    pub(super) tables: Vec<TablesModel>,
    #[serde(borrow)]
    pub(super) owners: Vec<OwnerModel<'a>>,
    pub(super) sites: Vec<SiteModel>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ModuleModel<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    pub(super) matched: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ThreadModel<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    /// None in the row of the others.
    pub(super) os_id: Option<u32>,
    pub(super) counts: CountsTwin,
}

#[derive(Serialize, Deserialize)]
pub(super) struct MappingModel<'a> {
    #[serde(borrow)]
    pub(super) path: Cow<'a, str>,
    pub(super) build_id: Option<Cow<'a, str>>,
    pub(super) start: u64,
    pub(super) segments: Vec<SegmentTwin>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct FunctionModel<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    /// An index of `files`.
    pub(super) file: Option<u32>,
}

/// Frames, and the stacks that they make up.
#[derive(Serialize, Deserialize)]
pub(super) struct TablesModel {
    pub(super) frames: Vec<FrameModel>,
    /// Each with its parent, the number of a node or 0, and the index of its frame. The first node has the number 1.
    pub(super) nodes: Vec<(u32, u32)>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct FrameModel {
    pub(super) ip: u64,
    pub(super) mapping: Option<u32>,
    pub(super) lines: Vec<LineModel>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct LineModel {
    pub(super) function: u32,
    pub(super) line: Option<u32>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct OwnerModel<'a> {
    #[serde(borrow)]
    pub(super) function: Cow<'a, str>,
    pub(super) module: Option<Cow<'a, str>>,
    pub(super) location: Option<LocationModel>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct LocationModel {
    pub(super) file: u32,
    pub(super) line: Option<u32>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SiteModel {
    #[serde(with = "KindTwin")]
    pub(super) kind: SiteKind,
    pub(super) owner: u32,
    pub(super) stack: Option<StackModel>,
    pub(super) counts: CountsTwin,
    pub(super) lifetimes: LifetimesTwin,
}

/// A node of one of the `tables`.
#[derive(Serialize, Deserialize)]
pub(super) struct StackModel {
    pub(super) table: u32,
    pub(super) leaf: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "SiteKind", rename_all = "snake_case")]
enum KindTwin {
    Module,
    Other,
    BeforeStart,
    Paused,
    Internal,
    NoStack,
    NoSymbols,
    Overflow,
    Teardown,
    Untagged,
    UnknownFrees,
}
