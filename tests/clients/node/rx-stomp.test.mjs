// @stomp/rx-stomp 2: observables, subscriptions that outlive a connection.
import * as library from "@stomp/rx-stomp";

import { rxStomp } from "./clients.mjs";
import { prove } from "./proof.mjs";

prove(rxStomp("@stomp/rx-stomp 2", library));
