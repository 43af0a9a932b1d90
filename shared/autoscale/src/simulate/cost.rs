use super::replay::Point;
use crate::number::large;

/// What a replay cost: too many replicas, and too few.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// Replicas above those that were needed, times the seconds that they were there, started or not.
    pub over: f64,
    /// Replicas that were needed above those that were ready, times seconds.
    pub under: f64,
    /// As `over`, where half of a replica may be needed.
    pub over_exactly: f64,
    /// As `under`, where half of a replica may be needed.
    pub under_exactly: f64,
    /// The most that there were.
    pub most: u32,
    /// How often the count changed.
    pub changes: u32,
}

impl Cost {
    /// Of these seconds.
    pub fn of(points: &[Point]) -> Self {
        let mut cost = Self::default();
        let mut before = None;
        for point in points {
            cost.over += f64::from(point.count.saturating_sub(point.needed()));
            cost.under += f64::from(point.needed().saturating_sub(point.ready));
            cost.over_exactly += (f64::from(point.count) - point.need).max(0.0);
            cost.under_exactly += (point.need - f64::from(point.ready)).max(0.0);
            cost.most = cost.most.max(point.count);
            cost.changes += u32::from(before.is_some_and(|before| before != point.count));
            before = Some(point.count);
        }
        cost
    }

    /// The mean of several.
    pub fn mean(costs: &[Self]) -> Self {
        let among = large(costs.len() as u64).max(1.0);
        let sum = |of: fn(&Self) -> f64| costs.iter().map(of).sum::<f64>() / among;
        Self {
            over: sum(|cost| cost.over),
            under: sum(|cost| cost.under),
            over_exactly: sum(|cost| cost.over_exactly),
            under_exactly: sum(|cost| cost.under_exactly),
            most: costs.iter().map(|cost| cost.most).max().unwrap_or_default(),
            changes: crate::number::replicas(sum(|cost| f64::from(cost.changes))),
        }
    }
}
