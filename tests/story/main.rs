//! What `uplift` does, black box, a story a module. One binary: linking takes longer than most of
//! them, and what they share is compiled once.

#![allow(clippy::disallowed_methods, reason = "files of a test need not survive anything")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on should stop where it is"
)]

#[path = "../world/mod.rs"]
mod world;

mod all_channels;
mod bridge;
mod channels;
mod check;
mod cloud;
mod components;
mod config_check;
mod config_sandbox;
mod container;
mod control;
mod demo;
mod dji_cloud;
mod faults;
mod ftp_pull;
mod ftp_server;
mod hawkbit;
mod http;
mod init;
mod install;
mod journal;
mod killed;
mod local_upgrade;
mod look;
mod luatos;
mod manual;
mod mcu;
mod metrics;
mod policy;
mod psdk_link;
mod quectel;
mod readme;
mod rescue;
mod restart_unit;
mod schemas;
mod seal;
mod self_upgrade;
mod serial_noise;
mod service;
mod small;
mod soaking;
mod status_watch;
mod swap;
mod system_call_filter;
mod system_calls;
mod thingspanel;
mod through;
mod trees;
mod udev_rule;
mod units;
mod updater;
mod uploads_socket;
