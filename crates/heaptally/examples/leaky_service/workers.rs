//! A worker pool that churns: it renders one page after the other, out of many short-lived strings.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::pages::{PAGE_BYTES, PageCache};

const WORKERS: usize = 2;
const LINES: usize = 32;

/// Starts the pool, which runs until the program ends.
pub(crate) fn start(pages: &Arc<PageCache>) {
    for worker in 0..WORKERS {
        let pages = Arc::clone(pages);
        thread::spawn(move || work(worker, &pages));
    }
}

/// Renders the pages `worker`, `worker + WORKERS` and so on, for ever.
fn work(worker: usize, pages: &PageCache) {
    for number in (worker..).step_by(WORKERS) {
        pages.keep(number, &render_page(number));
        thread::sleep(Duration::from_millis(5));
    }
}

fn render_page(number: usize) -> [u8; PAGE_BYTES] {
    let lines: Vec<String> = (0..LINES).map(|line| render_line(number, line)).collect();
    lines.concat().as_bytes().try_into().expect("a page is as long as its lines")
}

fn render_line(page: usize, line: usize) -> String {
    let text = format!("page {page}, line {line}");
    format!("{text:.<width$}\n", width = PAGE_BYTES / LINES - 1)
}
