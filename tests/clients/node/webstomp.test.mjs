// webstomp-client 1.2.6: asks for exactly the version of the sub-protocol that the server chose.
import { webStomp, webStompBinary } from "./clients.mjs";
import { prove } from "./proof.mjs";
import { RAW } from "./transports.mjs";

prove(webStomp);
prove(webStompBinary, [RAW]);
