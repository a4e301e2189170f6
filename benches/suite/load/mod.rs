//! The load program: another process, which decodes every response and counts the numbers in them. One line of what it
//! saw goes to standard output.

pub(crate) mod client;
mod count;
mod fan;
mod follow;
mod idle;
mod list;
mod meter;
mod params;
mod rejoin;
mod replay;
mod script;
mod transcript;
mod turn_cost;

pub(crate) use params::Params;

use crate::Failure;

pub(crate) fn main(args: &[String]) -> Result<(), Failure> {
    let params = Params::read(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let told = runtime.block_on(async {
        match args.first().map(String::as_str) {
            Some("fan") => fan::run(&params).await,
            Some("idle") => idle::run(&params).await,
            Some("late_join") => rejoin::late(&params).await,
            Some("list") => list::run(&params).await,
            Some("load_session") => transcript::run(&params).await,
            Some("reconnect") => rejoin::reconnect(&params).await,
            Some("replay") => replay::run(&params).await,
            Some("turn_cost") => turn_cost::run(&params).await,
            other => Err(format!("there is no load {other:?}").into()),
        }
    })?;
    println!("{told}");
    Ok(())
}
