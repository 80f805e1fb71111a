#![no_main]

use gateway_fuzz::dialect;
use gateway_trace::Endpoint;

libfuzzer_sys::fuzz_target!(|data: &[u8]| dialect::check(Endpoint::ChatCompletions, data));
