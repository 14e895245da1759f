//! Tests of the reflector as a whole, driven with a virtual clock.

mod bad_input;
mod golden;
mod harness;
mod properties;
mod quirks;
mod sections;
mod storage;
