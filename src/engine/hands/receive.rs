//! A place in the staging area for the file that comes, and the end of what lies there.

use super::{Hands, Place};
use crate::engine::blocking::blocking;
use crate::engine::storage;
use crate::model::{ComponentName, Failure};
use crate::package::check::{Rules, check_announced};
use crate::stage::{Announced, Observer, Receiving, Stage};

impl Hands {
    /// All but the file of this name, which an upgrade is to find again.
    pub(in crate::engine) async fn empty_stage(&mut self, kept: Option<&str>) {
        let kept = kept.map(str::to_owned);
        self.clear_stages(move |stage| stage.clean_but(kept.as_deref())).await;
    }

    pub(in crate::engine) async fn drop_receptions(&mut self) {
        self.clear_stages(Stage::drop_receptions).await;
    }

    async fn clear_stages(
        &mut self,
        clear: impl Fn(&Stage) -> Result<(), Failure> + Clone + Send + 'static,
    ) {
        self.staged = None;
        self.checked = None;
        for Place { stage, .. } in self.components.values() {
            let (stage, clear) = (stage.clone(), clear.clone());
            if let Err(failure) = blocking(move || clear(&stage)).await {
                // What could not be removed now will be in the way later, and is reported then.
                tracing::warn!(UPLIFT_KIND = %failure.kind, "{failure}");
            }
        }
    }

    /// Whether what is announced of a file passes, and its component could be upgraded.
    pub(in crate::engine) async fn admit(
        &self,
        component: ComponentName,
        announced: &Announced,
        rules: Rules,
    ) -> Result<(), Failure> {
        let (config, _) = self.component(component)?;
        let (config, announced, paths) =
            (config.clone(), announced.clone(), self.config.paths.clone());
        blocking(move || {
            check_announced(&announced.file_name, announced.size, &rules)?;
            config.program().map_or(Ok(()), |program| storage::examine(program, &paths))
        })
        .await
    }

    /// A place for the file.
    pub(in crate::engine) async fn receive(
        &self,
        component: ComponentName,
        announced: Announced,
        observer: Observer,
    ) -> Result<Receiving, Failure> {
        let stage = self.component(component)?.1.stage.clone();
        blocking(move || stage.receive(announced, observer)).await
    }
}
