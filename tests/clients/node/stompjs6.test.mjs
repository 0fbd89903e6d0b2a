// @stomp/stompjs 6, which the co-editing example uses.
import library from "stompjs6";

import { stompJs } from "./clients.mjs";
import { prove } from "./proof.mjs";

prove(stompJs("@stomp/stompjs 6", library));
