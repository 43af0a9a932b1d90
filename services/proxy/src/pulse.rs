//! Time, cheaply: one tick each 100 ms for all timeouts of a core.
//!
//! A timer of its own for every request would be a quarter of what a request costs. Timeouts of a
//! proxy are seconds long, so each connection and each request in flight only writes its deadline
//! down, and the tick looks through them.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use slab::Slab;

/// How often deadlines are looked at, and how exact they are.
pub const TICK: Duration = Duration::from_millis(100);

/// The deadlines of one core.
pub struct Pulse {
    now: Cell<Instant>,
    alarms: RefCell<Slab<Entry>>,
}

struct Entry {
    deadline: Option<Instant>,
    waker: Option<Waker>,
}

impl Pulse {
    /// Nothing to watch yet.
    pub fn new() -> Rc<Self> {
        Rc::new(Self { now: Cell::new(Instant::now()), alarms: RefCell::default() })
    }

    /// The time of the last tick.
    pub fn now(&self) -> Instant {
        self.now.get()
    }

    /// Wakes what is over its deadline.
    pub fn tick(&self) {
        let now = Instant::now();
        self.now.set(now);
        let mut due = Vec::new();
        for (_, entry) in self.alarms.borrow_mut().iter_mut() {
            if entry.deadline.is_some_and(|deadline| deadline <= now) {
                due.extend(entry.waker.take());
            }
        }
        // Whoever wakes up may set or drop alarms: not while they are borrowed.
        due.into_iter().for_each(Waker::wake);
    }

    /// Wakes everything: something has changed for all.
    pub fn wake_all(&self) {
        let all: Vec<_> =
            self.alarms.borrow_mut().iter_mut().filter_map(|(_, entry)| entry.waker.take()).collect();
        all.into_iter().for_each(Waker::wake);
    }

    /// A deadline that can be moved.
    pub fn alarm(self: &Rc<Self>) -> Alarm {
        let key = self.alarms.borrow_mut().insert(Entry { deadline: None, waker: None });
        Alarm { pulse: self.clone(), key }
    }

    /// The outcome of `work`, or `None` if it takes longer than `limit`; zero is no limit.
    pub fn within<F: Future>(self: &Rc<Self>, limit: Duration, work: F) -> Within<'_, F> {
        Within { pulse: self, limit, alarm: None, work }
    }
}

/// A deadline of one connection or request.
pub struct Alarm {
    pulse: Rc<Pulse>,
    key: usize,
}

impl Alarm {
    /// Due after `limit`; zero is never.
    pub fn set(&self, limit: Duration) {
        let deadline = (limit > Duration::ZERO).then(|| self.pulse.now.get() + limit);
        self.pulse.alarms.borrow_mut()[self.key].deadline = deadline;
    }

    /// Another alarm of the same core.
    pub fn another(&self) -> Self {
        self.pulse.alarm()
    }

    /// Never due.
    pub fn clear(&self) {
        self.pulse.alarms.borrow_mut()[self.key].deadline = None;
    }

    /// Whether it is due; if not, the task is woken when it is.
    pub fn poll(&self, context: &Context<'_>) -> bool {
        let entry = &mut self.pulse.alarms.borrow_mut()[self.key];
        if entry.deadline.is_some_and(|deadline| deadline <= self.pulse.now.get()) {
            return true;
        }
        match &mut entry.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        false
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.pulse.alarms.borrow_mut().remove(self.key);
    }
}

/// See [`Pulse::within`].
pub struct Within<'a, F> {
    pulse: &'a Rc<Pulse>,
    limit: Duration,
    alarm: Option<Alarm>,
    work: F,
}

impl<F: Future + Unpin> Future for Within<'_, F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Poll::Ready(done) = Pin::new(&mut this.work).poll(context) {
            return Poll::Ready(Some(done));
        }
        if this.limit.is_zero() {
            return Poll::Pending;
        }
        let alarm = this.alarm.get_or_insert_with(|| {
            let alarm = this.pulse.alarm();
            alarm.set(this.limit);
            alarm
        });
        if alarm.poll(context) { Poll::Ready(None) } else { Poll::Pending }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // Real time has to pass.
mod tests {
    use std::future::pending;
    use std::pin::pin;

    use super::*;

    #[test]
    fn what_takes_too_long_is_given_up_and_leaves_nothing_behind() {
        let pulse = Pulse::new();
        let mut context = Context::from_waker(Waker::noop());
        let mut never = Box::pin(pending::<()>());
        {
            let mut work = pin!(pulse.within(Duration::from_millis(1), &mut never));
            assert!(work.as_mut().poll(&mut context).is_pending());
            std::thread::sleep(Duration::from_millis(2));
            pulse.tick();
            assert_eq!(work.as_mut().poll(&mut context), Poll::Ready(None));
        }
        assert!(pulse.alarms.borrow().is_empty());
    }

    #[test]
    fn a_moved_deadline_is_not_due_at_the_old_time() {
        let pulse = Pulse::new();
        let context = Context::from_waker(Waker::noop());
        let alarm = pulse.alarm();
        alarm.set(Duration::from_nanos(1));
        alarm.set(Duration::from_hours(1));
        pulse.tick();
        assert!(!alarm.poll(&context));
        alarm.set(Duration::from_nanos(1));
        std::thread::sleep(Duration::from_millis(1));
        pulse.tick();
        assert!(alarm.poll(&context));
    }
}
