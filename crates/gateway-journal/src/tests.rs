//! Tests of the whole: power cuts, damage, failing disks, and the journal as its users see it.

mod damage;
mod faults;
mod live;
mod power_loss;
mod rig;
mod sim;
