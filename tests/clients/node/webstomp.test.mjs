// webstomp-client 1.2.6: asks for exactly the version of the sub-protocol that the server chose.
import { webStomp } from "./clients.mjs";
import { prove } from "./proof.mjs";

prove(webStomp);
