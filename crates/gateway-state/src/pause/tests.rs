//! What the gate holds, what it lets go on, and who hears of it.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;

/// Whether the future is ready when it is asked once more.
fn ready<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

#[test]
fn an_open_gate_counts_the_calls_that_are_past_it() {
    let gate = PauseGate::default();
    let first = gate.try_pass();
    let second = ready(pin!(gate.pass()));
    assert!(first.is_some() && second.is_some());
    assert_eq!((gate.is_closed(), gate.under_way()), (false, 2));
    drop(first);
    assert_eq!(gate.under_way(), 1);
    drop(second);
    assert_eq!(gate.under_way(), 0);
}

#[test]
fn a_closed_gate_holds_new_calls_and_lets_those_under_way_go_on() {
    let gate = PauseGate::default();
    let under_way = gate.try_pass();
    gate.close();
    gate.close();
    assert!(gate.is_closed() && gate.try_pass().is_none());
    let mut held = pin!(gate.pass());
    let mut given_up = Box::pin(gate.pass());
    assert!(ready(held.as_mut()).is_none() && ready(given_up.as_mut()).is_none());
    drop(given_up);
    assert_eq!(gate.under_way(), 1, "who waits is not under way");
    drop(under_way);
    assert!(ready(held.as_mut()).is_none());
    gate.open();
    let passed = ready(held.as_mut());
    assert!(passed.is_some());
    assert_eq!(gate.under_way(), 1);
}

/// Woken by an opening, but late: the gate is closed again, and the count is right.
#[test]
fn a_call_that_comes_to_a_gate_closed_again_waits_on() {
    let gate = PauseGate::default();
    gate.close();
    let mut held = pin!(gate.pass());
    assert!(ready(held.as_mut()).is_none());
    gate.open();
    gate.close();
    assert!(ready(held.as_mut()).is_none());
    assert_eq!(gate.under_way(), 0);
    gate.open();
    assert!(ready(held.as_mut()).is_some());
}

#[test]
fn whoever_closes_the_gate_hears_when_the_last_call_is_over() {
    let gate = PauseGate::default();
    gate.close();
    assert!(ready(pin!(gate.clear())).is_some(), "none is under way");
    gate.open();
    let (first, second) = (gate.try_pass(), gate.try_pass());
    gate.close();
    let mut clear = pin!(gate.clear());
    assert!(ready(clear.as_mut()).is_none());
    drop(first);
    assert!(ready(clear.as_mut()).is_none());
    drop(second);
    assert!(ready(clear.as_mut()).is_some());
}

#[test]
fn an_opening_ends_the_wait_for_a_clear_gate() {
    let gate = PauseGate::default();
    let _under_way = gate.try_pass();
    gate.close();
    let mut clear = pin!(gate.clear());
    assert!(ready(clear.as_mut()).is_none());
    gate.open();
    assert!(ready(clear.as_mut()).is_some());
}

/// Calls on many threads, and a gate that opens and closes: whenever it is closed and clear,
/// nobody is past it.
#[test]
fn no_call_slips_through_a_gate_that_is_closed_and_clear() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(future)
    }

    let gate = PauseGate::default();
    let inside = AtomicUsize::new(0);
    thread::scope(|scope| {
        let call = || {
            block_on(async {
                for _ in 0..200 {
                    let passed = gate.pass().await;
                    inside.fetch_add(1, Ordering::SeqCst);
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(passed);
                }
            });
        };
        let calls: Vec<_> = (0..4).map(|_| scope.spawn(call)).collect();
        while calls.iter().any(|call| !call.is_finished()) {
            gate.close();
            block_on(gate.clear());
            assert_eq!((inside.load(Ordering::SeqCst), gate.under_way()), (0, 0));
            gate.open();
            thread::yield_now();
        }
    });
}
