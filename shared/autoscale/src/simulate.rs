mod cost;
mod hpa;
mod load;
mod model;
mod replay;
mod shapes;

pub use cost::Cost;
pub use hpa::Hpa;
pub use load::{BadLoad, Load};
pub use model::{Model, Running, World};
pub use replay::{Point, Trace, replay, run, without_what_is_not_simulated};
pub use shapes::{Shape, shapes};
