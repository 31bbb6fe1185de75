//! Configurations: any text at all is either a configuration or a list of errors, never a panic, and
//! what is valid can be sent to a worker and compiled there.

use sluice::model::config::Config;
use sluice::model::load;
use sluice::model::secret::SecretRef;
use sluice::model::snapshot::Snapshot;

pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let loaded = load(text, &mut secret);
    let errors = loaded.errors().count();
    let Some(config) = loaded.config else {
        return assert!(errors > 0, "refused without a word");
    };
    assert_eq!(errors, 0, "valid, with errors");
    let again = load(text, &mut secret).config;
    assert_eq!(again.as_ref(), Some(&config), "the second reading differs");
    let sent = postcard::to_stdvec(&config).expect("a config can be packed");
    let received: Config = postcard::from_bytes(&sent).expect("and unpacked");
    assert_eq!(received, config, "a worker gets something else");
    // Expressions that are too large together are found here alone; that is an error, not a panic.
    drop(Snapshot::build(&config, 1));
}

fn secret(reference: &SecretRef) -> Result<String, String> {
    let text = format!("{reference}");
    match text.len() % 2 {
        0 => Ok("of the fuzzer's".to_owned()),
        _ => Err("not there".to_owned()),
    }
}
