//! Driver entry points: cuGetProcAddress and cuGetExportTable.

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::driver;
use crate::export::cuda;
use crate::export_table;
use crate::foreign::{In, Out, Text};
use crate::status::{Answer, Status};
use crate::types::Uuid;

include!(concat!(env!("OUT_DIR"), "/exports.rs"));

/// Flag: the null stream is the thread's own.
const PER_THREAD: u64 = 2;
const FOUND: u32 = 0;
const NO_SUCH_SYMBOL: u32 = 1;
const VERSION_NOT_SUFFICIENT: u32 = 2;

/// Versions, each the first for its address, ascending.
type Versions = Vec<(i32, u64)>;

/// Base name to the versions for the legacy and for the per-thread default stream.
fn table() -> &'static HashMap<&'static str, (Versions, Versions)> {
    static TABLE: OnceLock<HashMap<&str, (Versions, Versions)>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let exports: HashMap<_, _> =
            EXPORTS.iter().map(|(name, function)| (*name, *function as *const () as u64)).collect();
        let versions = |text: &'static str| {
            let pairs = text.split_whitespace().filter_map(|pair| pair.split_once(':'));
            pairs
                .filter_map(|(version, symbol)| Some((version.parse().ok()?, *exports.get(symbol)?)))
                .collect::<Versions>()
        };
        let lines = include_str!("../../data/proc_address.txt").lines().filter(|line| !line.starts_with('#'));
        let row = |line: &'static str| {
            let (name, rest) = line.split_once(' ')?;
            let (legacy, own) = rest.split_once('|').unwrap_or((rest, rest));
            Some((name, (versions(legacy), versions(own))))
        };
        lines.filter_map(row).collect()
    })
}

/// The address for a base name, a version and flags, and what cuGetProcAddress says of it.
fn find(name: &str, version: i32, flags: u64) -> Answer<(u64, u32)> {
    if version > driver::VERSION || flags > PER_THREAD {
        return Err(Status::INVALID_VALUE);
    }
    let Some((legacy, own)) = table().get(name) else { return Ok((0, NO_SUCH_SYMBOL)) };
    let versions = if flags == PER_THREAD { own } else { legacy };
    let newest = versions.iter().rev().find(|(first, _)| *first <= version);
    Ok(newest.map_or((0, VERSION_NOT_SUFFICIENT), |(_, address)| (*address, FOUND)))
}

cuda! {
    early fn cuGetProcAddress(symbol: Text, function: Out<u64>, version: i32, flags: u64) {
        function.check()?;
        let (address, found) = find(&symbol.read()?, version, flags)?;
        function.set(address)?;
        if found == FOUND { Ok(()) } else { Err(Status::NOT_FOUND) }
    }

    early fn cuGetProcAddress_v2(symbol: Text, function: Out<u64>, version: i32, flags: u64, status: Out<u32>) {
        function.check()?;
        let (address, found) = find(&symbol.read()?, version, flags)?;
        function.set(address)?;
        status.set_if_wanted(found);
        Ok(())
    }

    early fn cuGetExportTable(table: Out<u64>, id: In<Uuid>) {
        table.check()?;
        table.set(export_table::find(id.read()?)?)
    }
}
