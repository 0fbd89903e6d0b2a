//! Stores of shared rooms.

use stampede::config::cluster::Redis as RedisConfig;
use stampede::ids::{Boot, NodeId};
use stampede::registry::redis::connect;
use stampede::rooms::redis::RedisRooms;
use stampede::rooms::shared::{Joined, Left, Listed, SharedRooms, Stay};

use crate::support::redis::Redis;

mod contract;

fn with_rooms<F: Future<Output = ()>>(redis: &Redis, key: Option<&'static str>, test: impl FnOnce(RedisRooms) -> F) {
    let config = RedisConfig { url: redis.url().into(), ..RedisConfig::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let connection = Box::pin(connect(&config)).await.unwrap();
        test(RedisRooms::new(connection, key)).await;
    });
}

#[test]
fn the_store_in_redis_keeps_the_contract_and_leaves_nothing() {
    let redis = Redis::start();
    for key in [None, Some("co_blogId:{room}")] {
        with_rooms(&redis, key, async |rooms| contract::check(&rooms).await);
        assert_eq!(redis.keys("*"), Vec::<String>::new());
    }
}

#[test]
fn other_services_find_the_node_of_each_member() {
    let redis = Redis::start();
    with_rooms(&redis, Some("co_blogId:{room}"), async |rooms| {
        let [one, two] = ["node-1", "node-2"].map(|name| Boot::new(&NodeId::named(name).unwrap()));
        let stay = |boot: &Boot, number| Stay { room: "34".into(), member: "12".into(), boot: boot.clone(), number };
        let stored = || redis.cli(&["HGET", "co_blogId:34", "12"]);
        let (first, second) = (stay(&one, 1), stay(&two, 1));
        rooms.join(&first, "{\"id\":\"12\"}", 9).await.unwrap();
        assert_eq!(stored(), "{\"id\":\"12\",\"serverIpHost\":\"node-1\"}");
        rooms.join(&second, "{\"id\":\"12\"}", 9).await.unwrap();
        assert_eq!(stored(), "{\"id\":\"12\",\"serverIpHost\":\"node-2\"}");
        assert_eq!(&*rooms.members("34").await.unwrap().members[0].profile, "{\"id\":\"12\"}");
        rooms.leave(&second, &two, None).await.unwrap();
        assert_eq!(stored(), "{\"id\":\"12\",\"serverIpHost\":\"node-1\"}");
    });
}
