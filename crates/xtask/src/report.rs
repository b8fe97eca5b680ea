//! How a broken rule is told.

/// Fails the test when there are findings, with the rule, every finding, and the way out.
///
/// # Panics
/// When `findings` is not empty: that is the failing test.
#[track_caller]
pub fn none(rule: &str, way_out: &str, findings: &[String]) {
    assert!(
        findings.is_empty(),
        "\nHouse rule: {rule}\n{}\nWay out: {way_out}\n",
        findings.iter().map(|finding| format!("  {finding}\n")).collect::<String>()
    );
}
