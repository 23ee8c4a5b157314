//! Stacks as numbers of texts, each text once: what folded stacks and DHAT files are made of.
//!
//! Made by an exporter, on any thread; allocates. It does not know what the texts say.

use std::collections::HashMap;
use std::sync::Arc;

use crate::frame::Frame;
use crate::site::Site;

/// A text in the order in which the texts were met, from 0.
pub(super) type TextId = u32;

/// All texts of the stacks of one export.
pub(super) struct FrameTexts {
    /// The texts of a frame, innermost inlined function first; one at least.
    describe: fn(&Frame) -> Vec<String>,
    ids: HashMap<Arc<str>, TextId>,
    texts: Vec<Arc<str>>,
    /// By address of the frame in the tables that the snapshot keeps: describing it for each stack would take most of the
    /// time.
    of_frame: HashMap<*const Frame, Box<[TextId]>>,
}

impl FrameTexts {
    pub(super) fn new(describe: fn(&Frame) -> Vec<String>) -> Self {
        Self { describe, ids: HashMap::new(), texts: Vec::new(), of_frame: HashMap::new() }
    }

    /// The stack of a site of the one snapshot that this is for, innermost text first. Empty for a site without frames.
    pub(super) fn stack(&mut self, site: &Site) -> Vec<TextId> {
        let mut stack = Vec::new();
        for frame in site.frames() {
            let key = std::ptr::from_ref(frame);
            if !self.of_frame.contains_key(&key) {
                let texts = (self.describe)(frame).into_iter().map(|text| self.id(text)).collect();
                self.of_frame.insert(key, texts);
            }
            stack.extend_from_slice(&self.of_frame[&key]);
        }
        stack
    }

    /// The number of a text.
    pub(super) fn id(&mut self, text: String) -> TextId {
        if let Some(&id) = self.ids.get(text.as_str()) {
            return id;
        }
        let id =
            TextId::try_from(self.texts.len()).expect("fewer texts than frames, of which there are fewer than 2^32");
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        self.ids.insert(text, id);
        id
    }

    /// All texts, by number.
    pub(super) fn texts(&self) -> &[Arc<str>] {
        &self.texts
    }
}
