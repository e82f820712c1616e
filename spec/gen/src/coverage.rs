//! Prints what of an API is carried: how many functions of each area, and which are not, with the reason.

use std::collections::BTreeMap;

/// Areas of CUDA's driver API by how names begin; the longest that fits counts.
const AREAS: [(&str, &[&str]); 16] = [
    ("initialisation, errors, entry points", &["cuInit", "cuDriver", "cuGet", "cuLogs"]),
    ("devices", &["cuDevice", "cuFlushGPU"]),
    ("contexts", &["cuCtx", "cuDevicePrimaryCtx"]),
    (
        "green contexts",
        &["cuGreenCtx", "cuDevResource", "cuDevSm", "cuDeviceGetDevResource", "cuCtxGetDevResource", "cuCtxFromGreen"],
    ),
    ("modules, libraries, functions, linking", &["cuModule", "cuLibrary", "cuKernel", "cuFunc", "cuLink"]),
    ("launches and occupancy", &["cuLaunch", "cuOccupancy", "cuParam"]),
    ("memory", &["cuMem", "cuPointer", "cuIpcGetMem", "cuIpcOpenMem", "cuIpcClose"]),
    ("copies and memsets", &["cuMemcpy", "cuMemset", "cuMemBatch"]),
    ("multicast", &["cuMulticast"]),
    ("streams and recording", &["cuStream", "cuThread"]),
    ("events", &["cuEvent", "cuIpcGetEvent", "cuIpcOpenEvent"]),
    ("graphs", &["cuGraph", "cuUserObject", "cuDeviceGetGraph", "cuDeviceSetGraph", "cuDeviceGraph"]),
    ("arrays, textures, surfaces, tensor maps", &["cuArray", "cuMipmapped", "cuTex", "cuSurf", "cuTensor"]),
    (
        "external memory and semaphores",
        &["cuImportExternal", "cuExternal", "cuDestroyExternal", "cuSignalExternal", "cuWaitExternal"],
    ),
    ("graphics interoperation", &["cuGL", "cuEGL", "cuVDPAU", "cuGraphics"]),
    ("profiler, debugger, dumps, checkpoints", &["cuProfiler", "cudbg", "cuCoredump", "cuCheckpoint"]),
];

/// The area of a function.
fn area(name: &str) -> &'static str {
    let fits = AREAS.iter().flat_map(|(area, begins)| begins.iter().map(move |begin| (*area, *begin)));
    let best = fits.filter(|(_, begin)| name.starts_with(begin)).max_by_key(|(_, begin)| begin.len());
    best.map_or("others", |(area, _)| area)
}

/// A reason with the functions that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// They answer as the vendor's library does where what they need is missing; else that they are not supported.
    pub refused: bool,
    /// A sentence.
    pub why: String,
    /// Names.
    pub names: Vec<String>,
}

/// Reads reasons: a line `because …` or `refused because …`, then names, one a line; lines that begin with `#` and empty ones
/// say nothing.
///
/// # Errors
/// A sentence about the first line that is wrong.
pub fn reasons(text: &str) -> Result<Vec<Reason>, String> {
    let mut found: Vec<Reason> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let refused = line.strip_prefix("refused ");
        if let Some(why) = refused.unwrap_or(line).strip_prefix("because ") {
            found.push(Reason { refused: refused.is_some(), why: why.to_string(), names: Vec::new() });
            continue;
        }
        let last = found.last_mut().ok_or(format!("`{line}` stands before any reason"))?;
        if line.contains(' ') {
            return Err(format!("`{line}` is no name"));
        }
        last.names.push(line.to_string());
    }
    match found.iter().find(|reason| reason.names.is_empty()) {
        Some(reason) => Err(format!("nothing is unsupported because {}", reason.why)),
        None => Ok(found),
    }
}

/// Prints the page's tables.
#[must_use]
pub fn print(exports: &[String], reasons: &[Reason]) -> String {
    let mut areas: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for name in exports {
        let reason = reasons.iter().find(|reason| reason.names.contains(name));
        areas.entry(area(name)).or_default()[reason.map_or(0, |reason| 2 - usize::from(reason.refused))] += 1;
    }
    let mut text = String::from("| area | carried | refused as natively | not supported |\n|---|---|---|---|\n");
    for (area, [carried, refused, not]) in &areas {
        text.push_str(&format!("| {area} | {carried} | {refused} | {not} |\n"));
    }
    let [carried, refused, not] = areas.values().fold([0; 3], |sum, of_one| [0, 1, 2].map(|at| sum[at] + of_one[at]));
    text.push_str(&format!("| **all {}** | **{carried}** | **{refused}** | **{not}** |\n", exports.len()));
    for (title, of_these) in [("Not supported, and why", false), ("Refused as natively, and why", true)] {
        text.push_str(&format!("\n## {title}\n"));
        for Reason { why, names, .. } in reasons.iter().filter(|reason| reason.refused == of_these) {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            text.push_str(&format!("\n**{why}**\n{}\n", names.join(", ")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn area_when_several_begin_so_then_is_the_longest() {
        assert_eq!(area("cuMemAlloc_v2"), "memory");
        assert_eq!(area("cuMemcpyHtoD_v2"), "copies and memsets");
        assert_eq!(area("cuGraphicsMapResources"), "graphics interoperation");
        assert_eq!(area("cuGraphLaunch"), "graphs");
        assert_eq!(area("cuNothing"), "others");
    }

    #[test]
    fn reasons_when_broken_then_say_where() {
        let found = reasons("# text\nbecause A.\ncuA\n\nrefused because B.\ncuB\ncuC\n").expect("well-formed");
        assert_eq!(found[1], Reason { refused: true, why: "B.".into(), names: vec!["cuB".into(), "cuC".into()] });
        assert!(!found[0].refused);
        for wrong in ["cuA\n", "because A.\n", "because A.\ncuA cuB\n"] {
            assert!(reasons(wrong).is_err(), "{wrong}");
        }
    }
}
