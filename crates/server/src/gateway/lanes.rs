//! The threads that calls run on. Each has an event loop and connections to the model server of its own, so that a call
//! stays on one core from its first byte to its last, and nothing on its way is shared but the log.

use std::collections::HashMap;
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::Gateway;
use super::model_server::Upstream;
use super::serve::connection;
use super::upstream::Pool;

/// A lane takes some ten thousand calls a second, which is more than the models of one machine answer.
const LANES_MAX: usize = 8;
/// How often a lane looks for connections to the model server that nobody uses.
const TICK: Duration = Duration::from_secs(1);

/// What the calls of one lane have in common.
pub(crate) struct Lane {
    pub gateway: Arc<Gateway>,
    /// The connections to each model server, by its number.
    pools: Vec<Arc<Pool>>,
    /// Calls whose connections speak another protocol by now, of which their HTTP library knows nothing any more.
    pub tunnels: TaskTracker,
}

impl Lane {
    /// This lane's connections to a model server.
    pub(crate) fn pool(&self, upstream: &Upstream) -> &Arc<Pool> {
        &self.pools[upstream.number]
    }
}

/// A client that has connected.
pub(crate) struct Client {
    pub stream: TcpStream,
    pub address: IpAddr,
}

/// All lanes.
pub(crate) struct Lanes {
    lanes: Vec<Running>,
    next: usize,
}

struct Running {
    clients: mpsc::UnboundedSender<Client>,
    ended: oneshot::Receiver<()>,
}

impl Lanes {
    /// Starts as many lanes as the machine has cores.
    pub(crate) fn start(gateway: &Arc<Gateway>, tls: Option<&TlsAcceptor>) -> anyhow::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let lanes = (0..cores.min(LANES_MAX)).map(|number| start(number, Arc::clone(gateway), tls.cloned()));
        Ok(Self { lanes: lanes.collect::<anyhow::Result<_>>()?, next: 0 })
    }

    /// Gives a client to the next lane.
    pub(crate) fn take(&mut self, client: Client) {
        self.next = (self.next + 1) % self.lanes.len();
        if self.lanes[self.next].clients.send(client).is_err() {
            tracing::error!("a thread of the gateway has failed, and a connection with it");
        }
    }

    /// Lets running calls finish, for as long as the settings allow. Calls that are cut off then are on record as such.
    pub(crate) async fn stop(self) {
        // All lanes first hear that no client follows, then each is waited for.
        let ended: Vec<_> = self.lanes.into_iter().map(|lane| lane.ended).collect();
        for ended in ended {
            // A lane that failed has ended too.
            let _ = ended.await;
        }
    }
}

fn start(number: usize, gateway: Arc<Gateway>, tls: Option<TlsAcceptor>) -> anyhow::Result<Running> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (clients, coming) = mpsc::unbounded_channel();
    let (end, ended) = oneshot::channel();
    let pool = |one: &Arc<Upstream>| Arc::new(Pool::new(one.connector.clone(), one.settings.url.clone()));
    let pools = gateway.routes.all().iter().map(pool).collect();
    let lane = Arc::new(Lane { gateway, pools, tunnels: TaskTracker::new() });
    std::thread::Builder::new().name(format!("gateway-{number}")).spawn(move || {
        runtime.block_on(run(lane, tls, coming));
        // What is still there, an HTTP/2 stream or a tunnel say, goes now and puts itself on record. A look-up of a host that hangs is
        // not waited for.
        runtime.shutdown_timeout(Duration::from_secs(1));
        // Nobody listens if the program ends without waiting.
        let _ = end.send(());
    })?;
    Ok(Running { clients, ended })
}

/// Serves clients until none follows, then until their calls have ended.
async fn run(lane: Arc<Lane>, tls: Option<TlsAcceptor>, mut coming: mpsc::UnboundedReceiver<Client>) {
    let mut connections = JoinSet::new();
    // Dropping one tells its connection to finish.
    let mut stops = HashMap::new();
    let mut tick = interval(TICK);
    loop {
        tokio::select! {
            client = coming.recv() => {
                let Some(client) = client else { break };
                let (stop, stopped) = oneshot::channel();
                let task = connections.spawn(connection(Arc::clone(&lane), client, tls.clone(), stopped));
                stops.insert(task.id(), stop);
            }
            Some(ended) = connections.join_next_with_id() => {
                stops.remove(&ended.map_or_else(|failed| failed.id(), |(id, ())| id));
            }
            _ = tick.tick() => lane.pools.iter().for_each(|pool| pool.prune()),
        }
    }
    stops.clear();
    let all = async {
        while connections.join_next().await.is_some() {}
        lane.tunnels.close();
        lane.tunnels.wait().await;
    };
    if timeout(lane.gateway.settings.shutdown_grace, all).await.is_err() {
        let open = connections.len() + lane.tunnels.len();
        tracing::warn!(open, "calls are still running after the grace period and are cut off");
        lane.gateway.cut_off();
        connections.shutdown().await;
    }
}
