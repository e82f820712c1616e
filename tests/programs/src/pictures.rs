//! Pictures in PNG files, as rows of pixels R, G, B, A.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::Path;

/// Most pixels along a side: what one allocation and one launch of these programs carry with room to spare.
pub const MAX_SIDE: u32 = 16_384;

/// A picture: rows from the top, each pixel R, G, B, A from the lowest byte up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels along a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// width × height pixels.
    pub pixels: Vec<u32>,
}

impl Picture {
    /// Reads a PNG file of any colour type and depth.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn read(path: &Path) -> Result<Picture, String> {
        let file = File::open(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        decode(BufReader::new(file)).map_err(|error| format!("{} is not a PNG picture: {error}", path.display()))
    }

    /// Writes a PNG file, 8 bits a channel, with alpha.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        let failed = |error: &dyn std::fmt::Display| format!("cannot write {}: {error}", path.display());
        let file = File::create(path).map_err(|error| failed(&error))?;
        let mut encoder = png::Encoder::new(BufWriter::new(file), self.width, self.height);
        encoder.set_color(png::ColorType::Rgba);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        let bytes: Vec<u8> = self.pixels.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
        let mut writer = encoder.write_header().map_err(|error| failed(&error))?;
        writer.write_image_data(&bytes).map_err(|error| failed(&error))?;
        writer.finish().map_err(|error| failed(&error))
    }

    /// FNV-1a over the pixels: one number to compare two pictures by.
    #[must_use]
    pub fn checksum(&self) -> u64 {
        let bytes = self.pixels.iter().flat_map(|pixel| pixel.to_le_bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
    }
}

fn decode(file: BufReader<File>) -> Result<Picture, String> {
    let mut decoder = png::Decoder::new(file);
    decoder.set_transformations(png::Transformations::normalize_to_color8() | png::Transformations::ALPHA);
    let mut reader = decoder.read_info().map_err(|error| error.to_string())?;
    let (width, height) = (reader.info().width, reader.info().height);
    if width > MAX_SIDE || height > MAX_SIDE {
        return Err(format!("{width} x {height} pixels; at most {MAX_SIDE} a side are taken"));
    }
    let size = reader.output_buffer_size().ok_or("too large for this machine")?;
    let mut bytes = vec![0; size];
    let frame = reader.next_frame(&mut bytes).map_err(|error| error.to_string())?;
    let pixels = match frame.color_type {
        png::ColorType::Rgba => bytes.chunks_exact(4).map(|p| u32::from_le_bytes([p[0], p[1], p[2], p[3]])).collect(),
        png::ColorType::GrayscaleAlpha => {
            bytes.chunks_exact(2).map(|p| u32::from_le_bytes([p[0], p[0], p[0], p[1]])).collect()
        }
        other => return Err(format!("colour type {other:?} was not converted")),
    };
    Ok(Picture { width, height, pixels })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("gpuferry-pictures-{}-{name}", std::process::id()))
    }

    #[test]
    fn read_gives_back_what_write_was_given() {
        let path = scratch("same.png");
        let picture = Picture { width: 3, height: 2, pixels: vec![0xff00_0001, 2, 0x8000_0003, 4, 5, 0xffff_ffff] };
        picture.write(&path).expect("written");
        let read = Picture::read(&path).expect("read");
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(read, picture);
    }

    #[test]
    fn read_names_the_file_when_it_is_no_picture() {
        let path = scratch("text.png");
        std::fs::write(&path, "not a picture").expect("written");
        let refused = Picture::read(&path).expect_err("refused");
        std::fs::remove_file(&path).expect("removed");
        assert!(refused.contains("text.png is not a PNG picture"), "{refused}");
    }

    #[test]
    fn read_names_the_file_when_there_is_none() {
        let refused = Picture::read(Path::new("/nonexistent/picture.png")).expect_err("refused");
        assert!(refused.starts_with("cannot read /nonexistent/picture.png: "), "{refused}");
    }
}
