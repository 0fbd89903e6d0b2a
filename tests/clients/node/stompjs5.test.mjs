// @stomp/stompjs 5, the first with the Client class.
import library from "stompjs5";

import { stompJs } from "./clients.mjs";
import { prove } from "./proof.mjs";

prove(stompJs("@stomp/stompjs 5", library));
