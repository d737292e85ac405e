//! Does a configuration that is taken mean the same when it is printed and read again? Input: any
//! TOML, read as either process's file and as a scenario of the load generator.

use tidegate_controlplane::config::Config as ControlPlane;
use tidegate_dataplane::config::Config as Dataplane;
use tidegate_loadgen::scenario::Scenario;

pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(config) = ControlPlane::parse(text) {
        let printed = config.to_toml();
        let again = ControlPlane::parse(&printed).expect("what is printed is a configuration");
        assert_eq!(again.to_toml(), printed);
    }
    if let Ok(config) = toml::from_str::<Dataplane>(text)
        && config.check().is_ok()
    {
        let printed = config.to_toml();
        let again: Dataplane = toml::from_str(&printed).expect("what is printed can be read");
        assert_eq!((again.check(), again.to_toml()), (Ok(()), printed));
    }
    let _ = Scenario::parse(text, &[]);
}
