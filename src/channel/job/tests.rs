use proptest::prelude::*;

use super::model::{Step, World};

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, max_shrink_iters: 200_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn whatever_happens_the_platform_hears_the_truth_and_nothing_is_installed_twice(
        steps in prop::collection::vec(any::<(u8, u8)>(), 0..120)
    ) {
        let mut world = World::default();
        let steps: Vec<Step> = steps.iter().map(|(code, how)| Step::read(*code, *how)).collect();
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for step in &steps {
                world.step(*step);
            }
            world.settle();
        }));
        prop_assert!(ended.is_ok(), "{steps:#?}");
    }
}
