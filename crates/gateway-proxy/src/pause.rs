//! The wait at the pause gate, while the weights of the workers are changed.

use gateway_state::{ApiError, Live, Passed};

use crate::call::OpenCall;
use crate::proxy::Proxy;
use crate::request::Inbound;

impl Proxy {
    /// Lets a call pass the gate, once it is open; what is no call passes by it. The version of the
    /// weights is taken behind the gate: whoever changes them waits until no call is there, so that
    /// each call ends with those it began with.
    ///
    /// # Errors
    /// 503 `paused` after `pause_timeout`, 503 `draining` as soon as the gateway is to end.
    pub(crate) async fn pass(
        &self,
        inbound: &Inbound<'_>,
        live: &Live,
        open: Option<&OpenCall>,
    ) -> Result<Option<Passed>, ApiError> {
        if inbound.head.endpoint.is_none() {
            return Ok(None);
        }
        let at_once = self.state().pause().try_pass();
        let held = at_once.is_none();
        let passed = match at_once {
            Some(passed) => passed,
            None => self.wait(live).await?,
        };
        if let Some(call) = open {
            let version = self.state().weight_version();
            call.note(|answer| answer.weight_version = version);
            if held {
                // The intent tells the version at which the call came. Should the gateway be
                // killed, the trace must not be left with that one.
                call.journal_partial();
            }
        }
        Ok(Some(passed))
    }

    async fn wait(&self, live: &Live) -> Result<Passed, ApiError> {
        tokio::select! {
            biased;
            passed = self.state().pause().pass() => Ok(passed),
            () = self.state().drain().wait() => Err(ApiError::draining()),
            () = tokio::time::sleep(live.timeouts.pause) => Err(ApiError::paused()),
        }
    }
}
