//! Removing what was made, whoever made it.

use super::host::Host;
use super::site::{Made, Occupied};
use super::switch;

/// Removes all hosts of a site and its switch, in whatever state they are.
pub fn clear(site: &Occupied) {
    for made in site.made().into_iter().rev() {
        match made {
            Made::Host(number) => Host::new(site, number).remove(),
            Made::Switch => switch::remove(site.site()),
        }
    }
    site.forget();
}
