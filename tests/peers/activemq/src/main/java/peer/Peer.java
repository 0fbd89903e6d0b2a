package peer;

import java.nio.file.Path;

import org.apache.activemq.broker.BrokerService;
import org.apache.activemq.broker.TransportConnector;
import org.apache.activemq.broker.region.policy.PolicyEntry;
import org.apache.activemq.broker.region.policy.PolicyMap;

/**
 * ActiveMQ with one WebSocket connector: {@code Peer DIRECTORY HOST:PORT}. Nothing is written to disk and nothing offered over
 * JMX, as a broker for live messages needs neither; topics are told no advisories.
 */
public final class Peer {
    private Peer() {}

    public static void main(String[] arguments) throws Exception {
        BrokerService broker = new BrokerService();
        broker.setBrokerName("peer");
        broker.setPersistent(false);
        broker.setUseJmx(false);
        broker.setAdvisorySupport(false);
        broker.setDataDirectoryFile(Path.of(arguments[0]).toFile());
        broker.getSystemUsage().getMemoryUsage().setLimit(1L << 30);
        PolicyEntry all = new PolicyEntry();
        all.setTopic(">");
        all.setProducerFlowControl(true);
        PolicyMap policies = new PolicyMap();
        policies.setDefaultEntry(all);
        broker.setDestinationPolicy(policies);
        TransportConnector connector = broker.addConnector("ws://" + arguments[1] + "?maximumConnections=100000");
        broker.start();
        System.out.println("listening on " + connector.getConnectUri());
        broker.waitUntilStopped();
    }
}
