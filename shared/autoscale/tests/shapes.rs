//! The three classic shapes of load, beside Kubernetes' autoscaler with its defaults.

use gantry_autoscale::simulate::{Cost, Hpa, Model, World, replay, run, shapes};
use gantry_autoscale::{Base, Rules};
use gantry_model::{Autoscale, Container, Resources, ServiceSpec, Timestamp};

const BEGIN: Timestamp = Timestamp::from_millis(1_781_049_600_000);
const FIRST: u32 = 2;

#[test]
fn in_every_shape_less_is_missing_and_less_is_idle_than_with_the_peer() {
    let autoscale = Autoscale { min: 2, max: 40, cpu: Some(70), ..Autoscale::default() };
    let one_core = Resources { nano_cpus: Some(1_000_000_000), ..Resources::default() };
    let container = Container { resources: one_core, ..Container::default() };
    let spec = ServiceSpec { container, autoscale: Some(autoscale), ..ServiceSpec::default() };
    for shape in shapes() {
        let model = Model::default();
        let ours = run(&spec, model, &shape.load, FIRST, BEGIN);
        let need: Vec<f64> = ours.points.iter().map(|point| point.need).collect();
        let base = Rules::new(&spec, BEGIN).map_or(Base::of(&spec.container.resources), |rules| rules.base);
        // Nobody knows in which second of its period the peer looks: all of them count.
        let theirs: Vec<Cost> = (0..15)
            .map(|phase| {
                let mut hpa = Hpa::new(70, 2, 40, phase);
                let world = World::new(model, base, BEGIN, FIRST);
                let need = |second, _| need[usize::try_from(second).unwrap_or(usize::MAX)];
                let points = replay(world, &shape.load, need, |second, world, _| hpa.scale(second, world));
                Cost::of(&points)
            })
            .collect();
        let (ours, theirs) = (Cost::of(&ours.points), Cost::mean(&theirs));
        println!("{}: {ours:?} beside {theirs:?}", shape.name);
        let better = [
            ours.under < theirs.under,
            ours.over < theirs.over,
            ours.under_exactly < theirs.under_exactly,
            ours.over_exactly < theirs.over_exactly,
        ];
        assert_eq!(better, [true; 4], "{}: {ours:?} beside {theirs:?}", shape.name);
    }
}
