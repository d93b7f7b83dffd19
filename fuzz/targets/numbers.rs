//! The summary of a file of numbers: the same however its pieces are cut, and in order.
#![no_main]

use fxsrv::store::{Summariser, Summary, SummaryError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&step, text)) = data.split_first() else { return };
    let whole = summarise(text, usize::MAX);
    let pieces = summarise(text, usize::from(step).max(1));
    match (whole, pieces) {
        (Ok(whole), Ok(pieces)) => {
            assert_eq!(whole.text(), pieces.text());
            assert!(whole.min <= whole.max);
            assert!(whole.mean.is_finite());
        }
        (Err(whole), Err(pieces)) => assert_eq!(whole, pieces),
        (whole, pieces) => panic!("whole {whole:?}, in pieces {pieces:?}"),
    }
});

fn summarise(text: &[u8], step: usize) -> Result<Summary, SummaryError> {
    let mut summariser = Summariser::default();
    text.chunks(step).try_for_each(|piece| summariser.push(piece))?;
    summariser.finish()
}
