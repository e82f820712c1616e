//! What `picture` must make, computed on the CPU by code of its own: `picture-expected --output FILE [--input FILE]`.
//!
//! Written from what each step means, not from the kernels, and with none of their tricks: a change in one of the
//! two shows as a different picture. With `--same A B` it says whether two files hold the same pixels.

use std::path::Path;
use std::process::ExitCode;

use programs::fail;
use programs::pictures::Picture;

const NAME: &str = "picture-expected";
const USAGE: &str =
    "usage: picture-expected [--input FILE.png] --output FILE.png | --same A.png B.png | --sample FILE.png";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["--output", to] => write(&expected(&programs::sample::picture()), to),
        ["--input", from, "--output", to] => read(from).and_then(|picture| write(&expected(&picture), to)),
        ["--sample", to] => write(&programs::sample::picture(), to),
        ["--same", a, b] => read(a).and_then(|first| same(&first, &read(b)?)),
        _ => fail(NAME, 2, USAGE),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(NAME, 1, &message),
    }
}

fn read(path: &str) -> Result<Picture, String> {
    Picture::read(Path::new(path))
}

fn write(picture: &Picture, path: &str) -> Result<(), String> {
    picture.write(Path::new(path))
}

fn same(a: &Picture, b: &Picture) -> Result<(), String> {
    if (a.width, a.height) != (b.width, b.height) {
        return Err(format!("{} x {} pixels against {} x {}", a.width, a.height, b.width, b.height));
    }
    let different = a.pixels.iter().zip(&b.pixels).filter(|(x, y)| x != y).count();
    match a.pixels.iter().zip(&b.pixels).position(|(x, y)| x != y) {
        None => Ok(()),
        Some(first) => Err(format!(
            "{different} of {} pixels differ, the first at column {}, row {}: {:08x} against {:08x}",
            a.pixels.len(),
            first % a.width as usize,
            first / a.width as usize,
            a.pixels[first],
            b.pixels[first]
        )),
    }
}

/// The whole chain, as `picture` runs it.
fn expected(input: &Picture) -> Picture {
    let size = Size { width: i64::from(input.width), height: i64::from(input.height) };
    let brightness: Vec<i64> = input.pixels.iter().map(|&pixel| brightness(pixel)).collect();
    let mut blurred = input.pixels.clone();
    for _ in 0..2 {
        blurred = blur(&blurred, size, |x, y, k| (x + k, y));
        blurred = blur(&blurred, size, |x, y, k| (x, y + k));
    }
    let table = evened(&brightness);
    let ink = edges(&blurred, size);
    let pixels = (0..blurred.len()).map(|i| composed(blurred[i], brightness[i], ink[i], &table)).collect();
    Picture { width: input.width, height: input.height, pixels }
}

#[derive(Clone, Copy)]
struct Size {
    width: i64,
    height: i64,
}

impl Size {
    /// The index of a place; a place outside is the nearest one inside.
    fn at(self, x: i64, y: i64) -> usize {
        (y.clamp(0, self.height - 1) * self.width + x.clamp(0, self.width - 1)) as usize
    }

    fn places(self) -> impl Iterator<Item = (i64, i64)> {
        (0..self.height).flat_map(move |y| (0..self.width).map(move |x| (x, y)))
    }
}

fn brightness(pixel: u32) -> i64 {
    let [r, g, b, _] = pixel.to_le_bytes().map(i64::from);
    (77 * r + 150 * g + 29 * b + 128) / 256
}

/// Binomial weights over seven neighbours that `step` names, rounded to nearest.
fn blur(pixels: &[u32], size: Size, step: impl Fn(i64, i64, i64) -> (i64, i64)) -> Vec<u32> {
    const WEIGHTS: [i64; 7] = [1, 6, 15, 20, 15, 6, 1];
    size.places()
        .map(|(x, y)| {
            let mut sums = [0; 3];
            for (k, weight) in (-3..=3).zip(WEIGHTS) {
                let (at_x, at_y) = step(x, y, k);
                let neighbour = pixels[size.at(at_x, at_y)].to_le_bytes();
                for (sum, channel) in sums.iter_mut().zip(neighbour) {
                    *sum += weight * i64::from(channel);
                }
            }
            let alpha = pixels[size.at(x, y)].to_le_bytes()[3];
            let [r, g, b] = sums.map(|sum| ((sum + 32) / 64) as u8);
            u32::from_le_bytes([r, g, b, alpha])
        })
        .collect()
}

/// Histogram equalisation: the share of darker pixels, without those of the darkest kind, in 0..=255.
fn evened(brightness: &[i64]) -> [i64; 256] {
    let mut counts = [0i64; 256];
    for &value in brightness {
        counts[value as usize] += 1;
    }
    let all = brightness.len() as i64;
    let darkest = counts.iter().copied().find(|&count| count > 0).unwrap_or(0);
    let mut table = [0; 256];
    let mut upto = 0;
    for (value, count) in counts.into_iter().enumerate() {
        upto += count;
        table[value] = if all == darkest {
            value as i64
        } else {
            ((upto - darkest).max(0) * 255 + (all - darkest) / 2) / (all - darkest) * i64::from(upto > darkest)
        };
    }
    table
}

/// The length of Sobel's gradient, cut to 255.
fn edges(blurred: &[u32], size: Size) -> Vec<i64> {
    let bright: Vec<i64> = blurred.iter().map(|&pixel| brightness(pixel)).collect();
    size.places()
        .map(|(x, y)| {
            let side = |dx: i64, dy: i64| bright[size.at(x + dx, y + dy)];
            let across: i64 = [(-1, 1), (0, 2), (1, 1)].iter().map(|&(d, w)| w * (side(1, d) - side(-1, d))).sum();
            let down: i64 = [(-1, 1), (0, 2), (1, 1)].iter().map(|&(d, w)| w * (side(d, 1) - side(d, -1))).sum();
            (across * across + down * down).isqrt().min(255)
        })
        .collect()
}

fn composed(blurred: u32, brightness: i64, ink: i64, table: &[i64; 256]) -> u32 {
    let [r, g, b, alpha] = blurred.to_le_bytes();
    let base = brightness.max(1);
    let [r, g, b] = [r, g, b].map(i64::from).map(|channel| {
        let even = ((channel * table[brightness as usize] + base / 2) / base).min(255);
        let mixed = (even + channel + 1) / 2;
        ((mixed * (255 - ink) + 127) / 255) as u8
    });
    u32::from_le_bytes([r, g, b, alpha])
}
