//! placeholder
use super::World;
/// Why a seed was refused.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SeedError(String);
pub(super) fn read(_text: &str) -> Result<World, SeedError> {
    Err(SeedError("not yet".into()))
}
