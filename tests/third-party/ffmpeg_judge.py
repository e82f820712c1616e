"""Debian's ffmpeg: each CUDA filter on a clip that ffmpeg makes, frame by frame against the CPU filter of that kind.

overlay, upload, scaling to the nearest pixel and thumbnails choose or move pixels: not one bit may differ.
The others compute otherwise than the CPU's filter does; they are held to the least signal-to-noise ratio, in dB, given
here, and how near they come is printed.
"""
import numpy

from verdict import CACHE, Wrong, check, run

CLIP = "testsrc2=s=640x360:r=25:d=0.2"
LOGO = "testsrc=s=160x90:r=25:d=0.2"
EXACT = float("inf")
UP, DOWN = "hwupload", "hwdownload,format="
# Name, CUDA filters, CPU filters, pixel format of the result, least PSNR.
TESTS = [
    ("hwupload_cuda", "format=yuv420p,hwupload_cuda,hwdownload", "format=yuv420p", "yuv420p", EXACT),
    *(
        (f"scale_cuda {w}x{h} {mine}", f"format=yuv420p,{UP},scale_cuda={w}:{h}:interp_algo={mine},{DOWN}yuv420p",
         f"format=yuv420p,scale={w}:{h}:flags={theirs}+accurate_rnd", "yuv420p", least)
        for w, h in ((320, 180), (1280, 720))
        for mine, theirs, least in (
            ("nearest", "neighbor", EXACT), ("bilinear", "bilinear", 28), ("bicubic", "bicubic", 40), ("lanczos", "lanczos", 30)
        )
    ),
    ("scale_cuda nv12 to yuv444p", f"format=nv12,{UP},scale_cuda=640:360:format=yuv444p:passthrough=0,{DOWN}yuv444p",
     "format=nv12,scale=640:360:flags=bicubic+accurate_rnd,format=yuv444p", "yuv444p", 30),
    ("scale_cuda p010", f"format=p010,{UP},scale_cuda=320:180,{DOWN}p010",
     "format=p010,scale=320:180:flags=bicubic+accurate_rnd", "p010", 40),
    ("thumbnail_cuda", f"format=yuv420p,{UP},thumbnail_cuda=5,{DOWN}yuv420p", "format=yuv420p,thumbnail=5", "yuv420p", None),
    ("yadif_cuda", f"format=yuv420p,interlace,{UP},yadif_cuda=0,{DOWN}yuv420p", "format=yuv420p,interlace,yadif=0", "yuv420p", 50),
    ("chromakey_cuda", f"format=yuv420p,{UP},chromakey_cuda=0x00ff00:0.2:0.1,{DOWN}yuva420p",
     "format=yuva420p,chromakey=0x00ff00:0.2:0.1", "yuva420p", 25),
]  # fmt: skip


def frames(filters, pixels, *inputs):
    words = ["-hide_banner", "-nostdin", "-v", "error", "-init_hw_device", "cuda=gpu", "-filter_hw_device", "gpu"]
    for source in inputs:
        words += ["-f", "lavfi", "-i", source]
    words += ["-filter_complex", filters, "-pix_fmt", pixels, "-f", "rawvideo", "-"]
    kind = numpy.dtype("<u2") if pixels == "p010" else numpy.uint8
    return numpy.frombuffer(run(f"{CACHE}/ffmpeg/ffmpeg", *words), kind)


def compare(mine, theirs, least):
    if mine.size != theirs.size or not mine.size:
        raise Wrong(f"{mine.size} samples, not {theirs.size}")
    difference = mine.astype(float) - theirs
    most, error = abs(difference).max(), (difference**2).mean()
    if not error:
        return "same bits"
    noise = 10 * numpy.log10(float(numpy.iinfo(mine.dtype).max) ** 2 / error)
    found = f"PSNR {noise:.1f} dB, largest difference {most:.0f}, {100 * (difference != 0).mean():.1f} % of the samples"
    if noise < least:
        raise Wrong(f"{found}; at least {least} dB expected")
    return found


def both(cuda, cpu, pixels, least, *inputs):
    return compare(frames(cuda, pixels, *inputs), frames(cpu, pixels, *inputs), least)


def overlay(x, y, opacity):
    logo = f"[1]format=yuva420p,colorchannelmixer=aa={opacity},format=yuva420p"
    cuda = f"[0]format=yuv420p,{UP}[a];{logo},{UP}[b];[a][b]overlay_cuda=x={x}:y={y},{DOWN}yuv420p"
    cpu = f"[0]format=yuv420p[a];{logo}[b];[a][b]overlay=x={x}:y={y}"
    return both(cuda, cpu, "yuv420p", EXACT if opacity == 1 else 45, CLIP, LOGO)


def thumbnail(cuda, cpu, pixels):
    """Both choose a frame of five by their histograms, which they make of other planes: any whole frame will do."""
    chosen, all_frames = frames(cuda, pixels, CLIP), frames("format=yuv420p", pixels, CLIP)
    size = 640 * 360 * 3 // 2
    whole = {frame.tobytes() for frame in all_frames.reshape(-1, size)}
    for frame in chosen.reshape(-1, size):
        if frame.tobytes() not in whole:
            raise Wrong("a frame that is not in the clip")
    return f"{chosen.size // size} frames"


for name, cuda, cpu, pixels, least in TESTS:
    if least is None:
        check(name, thumbnail, cuda, cpu, pixels)
    else:
        check(name, both, cuda, cpu, pixels, least, CLIP)
for place in ((40, 20), (0, 0), (480, 270)):
    check(f"overlay_cuda at {place[0]},{place[1]}", overlay, *place, 1)
check("overlay_cuda, half transparent", overlay, 40, 20, 0.5)
