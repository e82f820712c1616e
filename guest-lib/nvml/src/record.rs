//! What `nvidia-smi pmon` is given of processes: a record for a moment, as it was seen on an H200 with processes that were
//! known. A time; then for each of six engines up to five processes with what share of it each has used, in percent. Nobody:
//! a process of all ones.

use crate::processes::Sample;

/// Engines: multiprocessors, memory, encoder, decoder, JPEG, optical flow.
const ENGINES: usize = 6;
/// Processes that an engine has room for.
pub const ROOM: usize = 5;
const NOBODY: u64 = u32::MAX as u64;

/// A share of an engine.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share {
    percent: u64,
    pid: u64,
}

/// A record.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Record {
    /// Microseconds since 1970.
    time: u64,
    engines: [[Share; ROOM]; ENGINES],
}

const _: () = assert!(size_of::<Record>() == 488);

/// Number `at` of a sample's words of 32 bits (nvmlProcessUtilizationSample_t): the process, its time in 2 and 3, then the
/// engines' shares.
fn word(sample: &Sample, at: usize) -> u32 {
    sample.as_chunks().0.get(at).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn time(sample: &Sample) -> u64 {
    u64::from(word(sample, 2)) | u64::from(word(sample, 3)) << 32
}

impl Record {
    /// The newest of each process's samples, and how many processes there are, of those that have room.
    pub fn of(samples: &[Sample]) -> (Record, usize) {
        let mut newest: Vec<Sample> = Vec::new();
        for sample in samples {
            match newest.iter_mut().find(|known| word(known, 0) == word(sample, 0)) {
                Some(known) if time(known) < time(sample) => *known = *sample,
                Some(_) => {}
                None => newest.push(*sample),
            }
        }
        newest.truncate(ROOM);
        let nobody = Share { percent: 0, pid: NOBODY };
        let mut record =
            Record { time: newest.iter().map(time).max().unwrap_or(0), engines: [[nobody; ROOM]; ENGINES] };
        for (place, sample) in newest.iter().enumerate() {
            for (engine, shares) in record.engines.iter_mut().enumerate() {
                let percent = word(sample, 4 + engine);
                // Multiprocessors and memory are what every process uses; the other engines those that do.
                if engine < 2 || engine < 4 && percent != 0 {
                    shares[place] = Share { percent: percent.into(), pid: word(sample, 0).into() };
                }
            }
        }
        (record, newest.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(pid: u32, time: u64, shares: [u32; 4]) -> Sample {
        let mut words = [pid, 0, time as u32, (time >> 32) as u32, 0, 0, 0, 0];
        words[4..].copy_from_slice(&shares);
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(words.iter().flat_map(|word| word.to_le_bytes())).for_each(|(to, byte)| *to = byte);
        bytes
    }

    #[test]
    fn record_when_made_then_has_the_newest_of_each_process() {
        let samples = [sample(7, 1 << 33, [50, 3, 0, 0]), sample(8, 5, [1, 0, 9, 0]), sample(7, 4, [60, 4, 0, 0])];
        let (record, processes) = Record::of(&samples);
        assert_eq!((record.time, processes), (1 << 33, 2));
        assert_eq!(record.engines[0][..2], [Share { percent: 50, pid: 7 }, Share { percent: 1, pid: 8 }]);
        assert_eq!(record.engines[2][..2], [Share { percent: 0, pid: NOBODY }, Share { percent: 9, pid: 8 }]);
        assert_eq!(record.engines[5][0].pid, NOBODY);
    }

    #[test]
    fn record_when_there_are_more_processes_than_room_then_has_the_first() {
        let samples: Vec<Sample> = (0..9).map(|pid| sample(pid, 1, [1; 4])).collect();
        assert_eq!(Record::of(&samples).1, ROOM);
        assert_eq!(Record::of(&[]).1, 0);
    }
}
