//! Any bytes as a decompressed body of remote write 2.0: decoded and admitted without a panic.

#![no_main]

use ingest::remote_write::{Admission, Config, Decoded, Located, Request, Version, Window};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let mut decoded = Decoded::default();
    if decoded.read(Version::V2, body).is_ok() {
        let limits = Config::default().limits();
        let window = Window::at(1_795_348_800_000, &limits);
        let request = Request { body, decoded: &decoded };
        let mut admission = Admission::new(limits, &window);
        let mut located = Located::default();
        for _ in 0..2 {
            admission.take(request, &window, &mut located).expect("rows can be built of whatever was admitted");
        }
    }
});
