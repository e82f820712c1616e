//! What the programs that paint a picture say of it.

use std::time::Instant;

use crate::pictures::Picture;

/// A painted picture, and how it was made.
#[derive(Clone, Debug)]
pub struct Painted {
    /// What came out.
    pub picture: Picture,
    /// Name of the device.
    pub device: String,
    /// Of brightness and of ink; the most ink; pixels with ink above 64.
    pub sums: [u64; 4],
    /// Kernels launched.
    pub launches: u32,
    /// Until the device is ready; until kernels are; from the first copy to the last.
    pub seconds: [f64; 3],
}

impl Painted {
    /// Prints it: as a line for people, or as JSON.
    pub fn print(&self, program: &str, json: bool) {
        let Picture { width, height, .. } = self.picture;
        let (device, checksum) = (&self.device, self.picture.checksum());
        if !json {
            println!("{program}: {width} x {height} pixels on {device}, checksum {checksum:016x}");
            return;
        }
        let [bright, ink, most, strong] = self.sums;
        let [start, load, work] = self.seconds;
        println!(
            "{{\"device\": {device:?}, \"width\": {width}, \"height\": {height}, \"checksum\": \"{checksum:016x}\", \
             \"brightness_sum\": {bright}, \"ink_sum\": {ink}, \"ink_most\": {most}, \"strong_edges\": {strong}, \
             \"launches\": {}, \"seconds\": {{\"start\": {start:.4}, \"load\": {load:.4}, \"work\": {work:.4}}}}}",
            self.launches
        );
    }
}

/// Ends a lap: its seconds, and the clock starts anew.
pub fn lap(clock: &mut Instant, seconds: &mut f64) {
    *seconds = clock.elapsed().as_secs_f64();
    *clock = Instant::now();
}
