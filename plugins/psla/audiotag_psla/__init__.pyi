from audiotag_psla.imagenet import warm_start as warm_start
