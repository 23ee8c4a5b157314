//! Loaded code: which module an instruction pointer lies in, and whether that can change.
//!
//! Asked in the hook for call sites whose rule is not known yet, and for every frame in a module that may be unloaded.
//! `_dl_find_object` of glibc 2.35 answers without a lock; without it stacks are taken by the platform's unwinder.
//!
//! *Immortal* are the executable and what it needs (its `DT_NEEDED` closure): the loader never unloads them, so a rule
//! of theirs is good for ever. Every other module is *volatile*: it gets a number, its *generation*, that no other
//! module ever gets, neither one at the same place nor the same file loaded again elsewhere. Rules and instruction
//! pointers of volatile code carry the generation, so that nothing of one module is ever taken for another's.
//!
//! # Synchronization
//!
//! A record's words are stored before `ready` (Release) and read after it (Acquire). Two threads may number one module
//! twice; that costs a number, and its stacks are told apart.

use core::ffi::{CStr, c_char, c_int, c_void};

use crate::arena::{Arena, Zeroed};
use crate::lazy_table::LazyTable;
use crate::sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::build_id::{PAGE_BYTES, build_id};
use super::bytes::Bytes;
use super::eh_frame::EhFrameHeader;

/// Modules that an executable may need, transitively, and still have them all immortal.
const MAX_IMMORTAL: usize = 512;
const RECORD_BLOCKS: usize = 64;
const RECORDS_PER_BLOCK: usize = 1024;

/// Where an instruction pointer lies.
#[derive(Clone, Copy)]
pub(crate) enum Location {
    Immortal(EhFrameHeader),
    Volatile(VolatileModule),
    /// In no loaded module: code made at run time, or no code at all.
    Outside,
    /// In a module without unwind tables: nothing is known of its frames.
    WithoutTables,
    /// In one module too many.
    Unnumbered,
}

/// A module that may be unloaded, as it was when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VolatileModule {
    /// From 1.
    pub(crate) generation: u16,
    /// Whether no other module can be taken for it. Rules of others are not kept, and traces through them not reused.
    pub(crate) is_identified: bool,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) header: EhFrameHeader,
}

/// A module that was given a generation.
#[derive(Default)]
struct Record {
    start: AtomicU64,
    end: AtomicU64,
    link_map: AtomicU64,
    header: AtomicU64,
    fingerprint: AtomicU64,
    ready: AtomicU32,
}

// SAFETY: atomic words; a zeroed record is not ready and never looked at.
unsafe impl Zeroed for Record {}

/// What tells a volatile module from another one at its place.
#[derive(Clone, Copy)]
struct Identity {
    fingerprint: u64,
    /// Whether it has a build id. Without one two modules whose layout is the same may have the same fingerprint, and
    /// frames of other sizes.
    is_certain: bool,
}

/// glibc's `struct dl_find_object`, `<dlfcn.h>`, as it is on x86-64.
#[repr(C)]
struct FoundObject {
    flags: u64,
    map_start: usize,
    map_end: usize,
    link_map: usize,
    eh_frame: usize,
    reserved: [u64; 7],
}

type FindObject = unsafe extern "C" fn(*const c_void, *mut FoundObject) -> c_int;

/// The public part of glibc's `struct link_map`, `<link.h>`.
#[repr(C)]
struct LinkMap {
    base: usize,
    name: *const c_char,
    dynamic: *const Dynamic,
    next: *const LinkMap,
    previous: *const LinkMap,
}

/// `Elf64_Dyn`.
#[repr(C)]
struct Dynamic {
    tag: i64,
    value: usize,
}

const DT_NULL: i64 = 0;
const DT_NEEDED: i64 = 1;
const DT_STRTAB: i64 = 5;
const DT_SONAME: i64 = 14;

/// See the module's head.
pub struct Modules {
    /// Address of `_dl_find_object`; 0 where there is none, or before it was looked for.
    find_object: AtomicUsize,
    immortal: [AtomicUsize; MAX_IMMORTAL],
    immortals: AtomicU32,
    records: LazyTable<Record, RECORD_BLOCKS, RECORDS_PER_BLOCK>,
    /// Generations given so far.
    generations: AtomicU32,
}

impl Modules {
    pub(crate) const fn new() -> Self {
        Self {
            find_object: AtomicUsize::new(0),
            immortal: [const { AtomicUsize::new(0) }; MAX_IMMORTAL],
            immortals: AtomicU32::new(0),
            records: LazyTable::new(),
            generations: AtomicU32::new(0),
        }
    }

    /// Looks for `_dl_find_object` and for the immortal modules. Called by `start`, before tracking is on, under no
    /// lock of ours: it takes the loader's.
    pub(crate) fn detect(&self) {
        let Some(find_object) = resolve_find_object() else { return };
        if self.immortals.load(Ordering::Relaxed) == 0 {
            // SAFETY: the callback has the required signature; `self` outlives the call.
            unsafe { libc::dl_iterate_phdr(Some(collect_immortals), core::ptr::from_ref(self).cast_mut().cast()) };
        }
        // Relaxed: published with the mode, like all that `start` prepares.
        self.find_object.store(find_object as usize, Ordering::Relaxed);
    }

    /// Whether modules can be told without a lock here.
    #[inline]
    pub(crate) fn is_usable(&self) -> bool {
        self.find_object.load(Ordering::Relaxed) != 0
    }

    /// Where `pc` lies now.
    ///
    /// Whatever module lies there stays while it is looked at, because `pc` is that of a frame on the live stack.
    pub(crate) fn locate(&self, pc: u64, arena: &Arena) -> Location {
        let Some(found) = self.find(pc) else { return Location::Outside };
        if found.eh_frame == 0 {
            return Location::WithoutTables;
        }
        // SAFETY: the loader's word for the module's tables. Somebody keeps the module loaded: one of its frames is on
        // the live stack, or it is immortal.
        let header = unsafe { EhFrameHeader::at(found.eh_frame as u64) };
        if self.is_immortal(found.link_map) {
            return Location::Immortal(header);
        }
        // SAFETY: somebody keeps the module loaded.
        let identity = unsafe { Identity::of(&found, header) };
        match self.generation(&found, identity, arena) {
            Some(generation) => Location::Volatile(VolatileModule {
                generation,
                is_identified: identity.is_certain,
                start: found.map_start as u64,
                end: found.map_end as u64,
                header,
            }),
            None => Location::Unnumbered,
        }
    }

    /// The generation of the module around an address; 0 for one that stays, for none, and where nobody knows.
    pub(crate) fn generation_at(&self, address: u64, arena: &Arena) -> u16 {
        match self.locate(address, arena) {
            Location::Volatile(module) => module.generation,
            Location::Immortal(_) | Location::Outside | Location::WithoutTables | Location::Unnumbered => 0,
        }
    }

    /// Whether the module is loaded, and no other in its place, asked by the aggregator: takes the loader's lock, so
    /// that it stays while it is looked at.
    pub fn is_loaded(&self, generation: u16) -> bool {
        struct Question<'a> {
            modules: &'a Modules,
            generation: u16,
            answer: bool,
        }
        unsafe extern "C" fn answer(_: *mut libc::dl_phdr_info, _: usize, question: *mut c_void) -> c_int {
            // SAFETY: the question below, which nobody else has.
            let question = unsafe { &mut *question.cast::<Question<'_>>() };
            // SAFETY: nothing is unmapped while the loader's lock is held.
            question.answer = unsafe { question.modules.current(question.generation) }.is_some();
            1
        }
        let mut question = Question { modules: self, generation, answer: false };
        // SAFETY: the callback has the required signature; the question outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(answer), (&raw mut question).cast()) };
        question.answer
    }

    /// Whether the module is certain to be loaded, and no other in its place.
    ///
    /// # Safety
    ///
    /// Whatever module lies there stays while it is looked at: one of its frames is on the live stack, or the loader's
    /// lock is held.
    pub(crate) unsafe fn is_current(&self, generation: u16) -> bool {
        // SAFETY: the caller's.
        unsafe { self.current(generation) }.is_some_and(|identity| identity.is_certain)
    }

    /// The identity of the module that has this generation, if it is loaded.
    ///
    /// # Safety
    ///
    /// As for [`Modules::is_current`].
    unsafe fn current(&self, generation: u16) -> Option<Identity> {
        let record = self.record(u32::from(generation))?;
        let found = self.find(record.start.load(Ordering::Relaxed)).filter(|found| same_place(record, found))?;
        // SAFETY: the caller's, for the loader's word of where the tables are.
        let identity = unsafe { Identity::of(&found, EhFrameHeader::at(found.eh_frame as u64)) };
        (identity.fingerprint == record.fingerprint.load(Ordering::Relaxed)).then_some(identity)
    }

    fn find(&self, pc: u64) -> Option<FoundObject> {
        let address = self.find_object.load(Ordering::Relaxed);
        if address == 0 {
            return None;
        }
        let mut found = core::mem::MaybeUninit::<FoundObject>::zeroed();
        // SAFETY: the address is that of the function, from `resolve_find_object`; it fills the structure when it
        // returns 0, and zeros are valid too.
        unsafe {
            let find_object = core::mem::transmute::<usize, FindObject>(address);
            let pc = core::ptr::without_provenance(pc as usize);
            (find_object(pc, found.as_mut_ptr()) == 0).then(|| found.assume_init())
        }
    }

    fn is_immortal(&self, link_map: usize) -> bool {
        let known = self.immortals.load(Ordering::Relaxed) as usize;
        self.immortal[..known.min(MAX_IMMORTAL)].iter().any(|known| known.load(Ordering::Relaxed) == link_map)
    }

    fn add_immortal(&self, link_map: *const LinkMap) {
        let known = self.immortals.load(Ordering::Relaxed) as usize;
        if let Some(slot) = self.immortal.get(known) {
            slot.store(link_map.addr(), Ordering::Relaxed);
            self.immortals.store(known as u32 + 1, Ordering::Relaxed);
        }
    }

    /// The number of a volatile module, a fresh one if it is new. `None` when all are used up.
    fn generation(&self, found: &FoundObject, identity: Identity, arena: &Arena) -> Option<u16> {
        let fingerprint = identity.fingerprint;
        let known = self.generations.load(Ordering::Acquire);
        for generation in (1..=known).rev() {
            let Some(record) = self.record(generation) else { continue };
            if same_place(record, found) && record.fingerprint.load(Ordering::Relaxed) == fingerprint {
                return u16::try_from(generation).ok();
            }
        }
        let mut known = known;
        loop {
            let generation = u16::try_from(known + 1).ok()?;
            let record = self.records.get_or_map(generation.into(), arena)?;
            // Check, then compare-and-swap: refused attempts cannot wrap the count.
            match self.generations.compare_exchange(known, known + 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    record.start.store(found.map_start as u64, Ordering::Relaxed);
                    record.end.store(found.map_end as u64, Ordering::Relaxed);
                    record.link_map.store(found.link_map as u64, Ordering::Relaxed);
                    record.header.store(found.eh_frame as u64, Ordering::Relaxed);
                    record.fingerprint.store(fingerprint, Ordering::Relaxed);
                    // Release: pairs with the Acquire in `record`.
                    record.ready.store(1, Ordering::Release);
                    return Some(generation);
                }
                Err(seen) => known = seen,
            }
        }
    }

    fn record(&self, generation: u32) -> Option<&'static Record> {
        let record = self.records.get(generation as usize)?;
        // Acquire: pairs with the Release in `generation`.
        (record.ready.load(Ordering::Acquire) != 0).then_some(record)
    }
}

impl Identity {
    /// # Safety
    ///
    /// The module that was found, and whose header is given, stays while it is looked at.
    unsafe fn of(found: &FoundObject, header: EhFrameHeader) -> Self {
        // SAFETY: a module is mapped from its first page, which has the ELF header and is not written.
        let page = unsafe {
            core::slice::from_raw_parts(core::ptr::with_exposed_provenance::<u8>(found.map_start), PAGE_BYTES)
        };
        let tables = header.fingerprint();
        match build_id(Bytes::new(page)) {
            Some(id) => Self { fingerprint: tables.rotate_left(32) ^ id, is_certain: true },
            None => Self { fingerprint: tables ^ header.sum_of_entries(), is_certain: false },
        }
    }
}

fn same_place(record: &Record, found: &FoundObject) -> bool {
    record.start.load(Ordering::Relaxed) == found.map_start as u64
        && record.end.load(Ordering::Relaxed) == found.map_end as u64
        && record.link_map.load(Ordering::Relaxed) == found.link_map as u64
        && record.header.load(Ordering::Relaxed) == found.eh_frame as u64
}

#[cfg(target_feature = "crt-static")]
fn resolve_find_object() -> Option<FindObject> {
    unsafe extern "C" {
        fn _dl_find_object(pc: *const c_void, found: *mut FoundObject) -> c_int;
    }
    Some(_dl_find_object)
}

/// By name at run time: a program that names it in its symbol table does not start with an older glibc.
#[cfg(not(target_feature = "crt-static"))]
fn resolve_find_object() -> Option<FindObject> {
    // SAFETY: the name is a C string.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_dl_find_object".as_ptr()) };
    // SAFETY: null, or the function of that name, which has had this signature since glibc 2.35.
    unsafe { core::mem::transmute::<*mut c_void, Option<FindObject>>(address) }
}

/// Called by `dl_iterate_phdr` with the loader's lock held: the chain of modules stands still.
unsafe extern "C" fn collect_immortals(_: *mut libc::dl_phdr_info, _: usize, modules: *mut c_void) -> c_int {
    // SAFETY: `detect` passes itself.
    let modules = unsafe { &*modules.cast_const().cast::<Modules>() };
    let mut found = core::mem::MaybeUninit::<FoundObject>::zeroed();
    // SAFETY: getauxval reads the auxiliary vector. The entry point lies in the executable, whose link map heads the
    // chain of the base namespace.
    let executable = unsafe {
        let entry = libc::getauxval(libc::AT_ENTRY) as usize;
        let Some(find_object) = resolve_find_object() else { return 1 };
        if find_object(core::ptr::without_provenance(entry), found.as_mut_ptr()) != 0 {
            return 1;
        }
        core::ptr::with_exposed_provenance::<LinkMap>(found.assume_init().link_map)
    };
    if executable.is_null() {
        return 1;
    }
    modules.add_immortal(executable);
    let mut next = 0;
    while let Some(module) =
        modules.immortal.get(next).filter(|_| next < modules.immortals.load(Ordering::Relaxed) as usize)
    {
        let module = core::ptr::with_exposed_provenance::<LinkMap>(module.load(Ordering::Relaxed));
        // SAFETY: link maps of the chain, under the loader's lock.
        unsafe {
            for_each_name(module, DT_NEEDED, |name| {
                if let Some(needed) = first_named(executable, name).filter(|&map| !modules.is_immortal(map.addr())) {
                    modules.add_immortal(needed);
                }
            });
        }
        next += 1;
    }
    // One call is enough.
    1
}

/// The first module of the chain with this name. Needed modules come before those that were opened later.
///
/// # Safety
///
/// `first` heads a chain that stands still.
unsafe fn first_named(first: *const LinkMap, name: &CStr) -> Option<*const LinkMap> {
    let mut map = first;
    // SAFETY: the chain ends with null.
    while let Some(module) = unsafe { map.as_ref() } {
        let mut is_it = false;
        // SAFETY: a module of the chain.
        unsafe {
            for_each_name(map, DT_SONAME, |soname| is_it |= soname == name);
            if !module.name.is_null() {
                let path = CStr::from_ptr(module.name).to_bytes();
                let file = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
                is_it |= file == name.to_bytes() || path == name.to_bytes();
            }
        }
        if is_it {
            return Some(map);
        }
        map = module.next;
    }
    None
}

/// Visits the strings of a module's dynamic section that have this tag.
///
/// # Safety
///
/// `module` is a loaded module's link map.
unsafe fn for_each_name(module: *const LinkMap, tag: i64, mut visit: impl FnMut(&CStr)) {
    // SAFETY: a dynamic section ends with DT_NULL; offsets of names are into its string table.
    unsafe {
        let module = &*module;
        let entries = || {
            let mut entry = module.dynamic;
            core::iter::from_fn(move || {
                let current = entry.as_ref().filter(|current| current.tag != DT_NULL)?;
                entry = entry.add(1);
                Some(current)
            })
        };
        let Some(strings) = entries().find(|entry| entry.tag == DT_STRTAB).map(|entry| entry.value) else { return };
        // The loader relocates this address, except in modules whose dynamic section is read-only.
        let strings = if strings < module.base { strings + module.base } else { strings };
        for entry in entries().filter(|entry| entry.tag == tag) {
            visit(CStr::from_ptr(core::ptr::with_exposed_provenance(strings + entry.value)));
        }
    }
}
